"""`Gallery`, a collection of photos that is searched by sketch."""

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ..config import BackboneName
from ..data.names import printable
from ..models.checkpoint import FILE_NAME as MODEL_NAME
from ..models.checkpoint import Run, encode_run, load_run, untrained_run
from ..sketches import Sketch
from .add import NO_SKETCHES, Added, add_photos
from .calibrate import calibrate, read_sketches
from .calibration import Calibration
from .encoder import Encoder
from .folder import beside, find_photos
from .indexes import Index, checked_index, open_index
from .manifest import FILE_NAME as MANIFEST_NAME
from .manifest import read_manifest
from .match import Match, Ranking
from .moves import forget, move
from .store import Rows, Store

UNTRAINED: BackboneName = "efficientnet-lite0"
"""The backbone of a gallery whose photos are searched without training."""
ANY: Mapping[str, bool] = MappingProxyType({})


@dataclass(frozen=True)
class Opened:
    """An index, and the calibration of the photos in it."""

    index: Index
    calibration: Calibration | None


class Gallery:
    """Photos embedded once, and searched by sketch as often as one likes.

    Distances are r = d + mu D with d and D squared Euclidean, D between predicted probabilities
    (the fusion of `fgsbir evaluate`). :meth:`search` and :meth:`predicted` may be called from any
    number of threads at once, also while :meth:`add` is at work.
    """

    def __init__(self, store: Store, run: Run, index: str) -> None:
        self._store = store
        self._encoder = Encoder(run.model)
        self._writing = threading.Lock()
        self._index_name = index
        self._opened: Opened | None = None
        self.attribute_names: tuple[str, ...] = run.data.attribute_names
        """Of the K attributes that the model predicts; empty where it predicts none."""

    @classmethod
    def create(
        cls,
        model: str | Path | None,
        out: str | Path,
        *,
        sketches: str | Path | None = None,
        index: str | None = None,
        device: str = "cpu",
    ) -> Gallery:
        """The gallery of a model in a folder; an empty one is made where there is none.

        Args:
            model: folder of `fgsbir train`, or the checkpoint in it. It is copied. None for the
                gallery's own; of a new one, for a network from ImageNet, without training.
            out: folder of the gallery.
            sketches: what :meth:`add` will be given: checked before anything is made.
            index: how to search: ``"exact"`` or another name of docs/gallery.md; None for what the
                gallery has, exact if it is new.
            device: where to embed: cpu, cuda, cuda:1 ...

        Raises:
            ConnectionError: the database of the index does not answer.
            FileNotFoundError: there is no such model, or no such folder of sketches.
            FileExistsError: `out` holds other things.
            ValueError: `out` holds a gallery of another model, a file is damaged, the weights from
                ImageNet are not installed, the index or the sketches are none for this model, or
                none of the sketches can be read.
        """
        if model is None and _is_to_be_untrained(Path(out)):
            run = untrained_run(UNTRAINED)
            checkpoint, source = encode_run(run), "the network from ImageNet"
            run.model.to(device)
        else:
            file = Path(out if model is None else model)
            file = file / MODEL_NAME if file.is_dir() else file
            run = load_run(file, device)
            checkpoint, source = file.read_bytes(), str(file)
        calibrated = run.model.head == "cells"
        index = None if index is None else checked_index(index, calibrated=calibrated)
        if sketches is not None:
            if not calibrated:
                raise ValueError(NO_SKETCHES)
            read_sketches(sketches)
        store = Store.create(out, checkpoint, run, index, source=source)
        return cls(store, run, store.manifest.index)

    @classmethod
    def build(
        cls,
        photos: str | Path,
        model: str | Path | None = None,
        out: str | Path | None = None,
        *,
        sketches: str | Path | None = None,
        index: str | None = None,
        device: str = "cpu",
        progress: bool = True,
    ) -> Gallery:
        """Embeds a folder of photos, or brings the gallery of an earlier call up to date with it.

        A call that was interrupted, even killed, is finished by the same call again. Files that
        cannot be read are left out with a warning; :meth:`add` lists them.

        Args:
            photos: folder, searched at any depth.
            model: folder of `fgsbir train`, or the checkpoint in it. It is copied. None for the
                gallery's own; of a new one, for a network from ImageNet, without training.
            out: folder of the gallery; None for PHOTOS.gallery beside the photos.
            sketches: folder of sketches of the kind of thing in the photos, to calibrate a network
                without training; None for edge maps of the photos.
            index: how to search: ``"exact"`` or another name of docs/gallery.md; None for what the
                gallery has, exact if it is new.
            device: where to embed: cpu, cuda, cuda:1 ...
            progress: whether to show a progress bar on stderr.

        Raises:
            ConnectionError: the database of the index does not answer.
            FileNotFoundError: there is no such folder or model.
            FileExistsError: `out` holds other things.
            ValueError: no images in the folder; a gallery of another model; a damaged file;
                `sketches` for a trained model; the weights from ImageNet are not installed; or
                another process is adding photos to the same gallery.
        """
        find_photos(photos)  # before anything is made
        out = out or beside(photos)
        gallery = cls.create(model, out, sketches=sketches, index=index, device=device)
        added = gallery.add(photos, sketches=sketches, progress=progress)
        if added.skipped:
            listed = "\n".join(f"  {printable(skipped.reason)}" for skipped in added.skipped)
            warnings.warn(f"{len(added.skipped)} unreadable:\n{listed}", stacklevel=2)
        for note in added.notes:
            warnings.warn(note, stacklevel=2)
        return gallery

    @classmethod
    def load(cls, path: str | Path, *, index: str | None = None, device: str = "cpu") -> Gallery:
        """Opens a gallery.

        Args:
            path: its folder.
            index: how to search it, where not as it was made for.
            device: where to embed sketches: cpu, cuda, cuda:1 ...

        Raises:
            ConnectionError: the database of the index does not answer.
            FileNotFoundError: there is none.
            ValueError: a file of it is damaged, or of another version.
        """
        store = Store(path)
        if not store.model.is_file():
            raise FileNotFoundError(
                f"{store.model}: missing; `fgsbir index` with the same model puts it back"
            )
        gallery = cls(store, load_run(store.model, device), index or store.manifest.index)
        gallery._index()
        return gallery

    def add(
        self, photos: str | Path, *, sketches: str | Path | None = None, progress: bool = False
    ) -> Added:
        """Brings the gallery up to date with a folder: new, changed and removed files.

        Files are told apart by path, size and time of change. Those under other folders stay as
        they are. What is embedded is on disk after every 64 photos.

        Args:
            photos: folder, searched at any depth, or one image file.
            sketches: as of :meth:`build`; None to go on with those of an earlier call.
            progress: whether to show a progress bar on stderr.

        Raises:
            FileNotFoundError: there is no such folder.
            ValueError: no images in the folder, a damaged file of the gallery, `sketches` for a
                trained model, or another process is adding photos to it.
        """
        with self._writing:
            added = add_photos(
                self._store, self._encoder, photos, sketches=sketches, progress=progress
            )
            self._opened = self._open(update=True)
        return added

    def move(self, moved: Mapping[str | Path, str | Path]) -> None:
        """Has the photos of the gallery's folders lie in others, where they are now, all at once.

        :meth:`add` recognises a folder that was renamed by itself, while its files are as they
        were.

        Args:
            moved: by a folder that photos were added from, which need not be there, the one that
                they are in.

        Raises:
            FileNotFoundError: there is no folder to move to.
            ValueError: the gallery has no such folder, none of its photos is where it would be, a
                file of the gallery is damaged, or another process is adding photos to it.
        """
        with self._changing():
            move(self._store, moved)

    def forget(self, folder: str | Path) -> int:
        """Takes all photos under a folder out of the gallery; their files are left alone.

        Args:
            folder: one that photos were added from, or inside of one; it need not be there.

        Returns:
            How many photos there were.

        Raises:
            ValueError: a damaged file of the gallery, or another process is adding photos to it.
        """
        with self._changing():
            return forget(self._store, folder)

    def search(
        self,
        sketch: Sketch,
        k: int = 10,
        *,
        attribute_weight: float = 0.0,
        required: Mapping[str, bool] = ANY,
    ) -> list[Match]:
        """The k photos nearest to a sketch, nearest first, each once whatever copies there are.

        Args:
            sketch: a file, a Pillow image or an array of uint8, as
                :func:`fgsbir.sketches.read_sketch` takes it, or what that gave.
            k: how many, at least 1; fewer come back where fewer are there.
            attribute_weight: mu >= 0 in r = d + mu D.
            required: only photos that the model predicts these attributes in (True), or not in
                (False).

        Raises:
            FileNotFoundError: there is no such file.
            TypeError: a sketch of another type.
            ValueError: a number out of range, an unknown attribute, no readable image, or an
                empty sketch (:class:`fgsbir.sketches.EmptySketchError`).
        """
        if k < 1:
            raise ValueError(f"k: expected 1 or more, got {k}")
        if not 0 <= attribute_weight < math.inf:
            raise ValueError(f"attribute_weight: expected 0 or more, got {attribute_weight}")
        if attribute_weight and not self.attribute_names:
            raise ValueError("attribute_weight: the gallery's model predicts no attributes")
        columns = {self._column(name): wanted for name, wanted in required.items()}
        query, opened = self._encoder.sketch(sketch), self._open_once()
        if opened.calibration is not None:
            query = query._replace(embedding=opened.calibration.of_sketches(query.embedding))
        tells_apart = opened.calibration is None or not opened.calibration.alike
        asked, most = k + tells_apart, opened.index.most_results
        while True:
            asked = max(k, min(asked, most))
            found = opened.index.search(query, asked, attribute_weight, columns)
            ranking = Ranking(query, found, attribute_weight)
            groups = ranking.by_photo() if tells_apart else ranking.each()
            if len(groups) > k or len(ranking) < asked or asked == most or not tells_apart:
                return [ranking.match(group, self.attribute_names) for group in groups[:k]]
            asked *= 4

    def predicted(self, sketch: Sketch) -> dict[str, float]:
        """The probability of each attribute in a sketch; errors as of :meth:`search`."""
        logits = self._encoder.sketch(sketch).logits
        values = [] if logits is None else logits[0].sigmoid().tolist()
        return dict(zip(self.attribute_names, values, strict=True))

    def numbers(self, count: int) -> list[int]:
        """The `count` lowest numbers of photos, ascending; fewer where there are fewer."""
        return self._index().numbers(count)

    def photo_path(self, index: int) -> Path:
        """Where the photo of a number lies, absolute.

        Raises:
            IndexError: no photo has this number.
        """
        return Path(self._index().path(index))

    def rows(self) -> Rows:
        """Numbers, paths, embeddings and logits of all photos, read from disk."""
        return self._store.read()

    def __len__(self) -> int:
        return len(self._index())

    def __repr__(self) -> str:
        return f"<Gallery {self._store.folder}: {len(self)} photos>"

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Holds the gallery, and calibrates and opens it anew afterwards."""
        with self._writing:
            with self._store.writing():
                yield
                if self._store.manifest.calibrated:
                    calibrate(self._store, self._encoder)
            self._opened = self._open(update=True)

    def _index(self) -> Index:
        return self._open_once().index

    def _open_once(self) -> Opened:
        """When first asked for, since :meth:`add` opens the index anew."""
        if self._opened is None:
            with self._writing:
                if self._opened is None:
                    self._opened = self._open()
        return self._opened

    def _open(self, *, update: bool = False) -> Opened:
        index = open_index(self._store, self._index_name, update=update)
        return Opened(index, self._store.calibration)

    def _column(self, name: str) -> int:
        if name not in self.attribute_names:
            known = ", ".join(self.attribute_names) or "none"
            raise ValueError(f"required: no attribute {name!r}; the model predicts {known}")
        return self.attribute_names.index(name)


def _is_to_be_untrained(folder: Path) -> bool:
    """Whether a gallery without a model of its own is new, or was killed before it had one."""
    if (folder / MODEL_NAME).is_file():
        return False
    return not (folder / MANIFEST_NAME).is_file() or read_manifest(folder).calibrated
