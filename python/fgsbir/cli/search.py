"""``fgsbir search``: find the photos of a gallery nearest to a sketch."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

from tyro.conf import FlagCreatePairsOff, Positional, UseAppendAction, arg


@dataclass(frozen=True)
class Search:
    """Print the photos of a gallery that are nearest to a sketch.

    Example: fgsbir search shoes.gallery sketch.png -k 5 --attribute "high heel" --picture found.png
    """

    gallery: Annotated[Positional[Path], arg(metavar="GALLERY")]
    """Folder that fgsbir index wrote."""
    sketch: Annotated[Positional[Path], arg(metavar="SKETCH")]
    """Image file of the sketch: lines of any size, anywhere on paper, on a screen or on nothing."""
    k: Annotated[int, arg(aliases=["-k"])] = 10
    """How many photos."""
    attribute_weight: float = 0.0
    """mu, the weight of predicted attributes beside the embedding."""
    attribute: UseAppendAction[tuple[str, ...]] = ()
    """Only photos that this attribute is predicted in; may be given more than once."""
    not_attribute: UseAppendAction[tuple[str, ...]] = ()
    """Only photos that this attribute is not predicted in; may be given more than once."""
    as_json: Annotated[FlagCreatePairsOff[bool], arg(name="json")] = False
    """Print JSON instead of a table."""
    picture: Path | None = None
    """Also draw the sketch, the photos found and their attributes into this file."""
    index: str | None = None
    """How to search, where not as the gallery was made for; see fgsbir index --help."""
    device: str = "cpu"
    """Where to embed the sketch: cpu, cuda, cuda:1 ..."""

    def run(self) -> None:
        from ..data.names import printable
        from ..gallery import Gallery
        from ..gallery.tables import format_matches
        from ..sketches import read_sketch

        if both := set(self.attribute) & set(self.not_attribute):
            raise ValueError(f"attribute: {both.pop()!r} is both required and excluded")
        sketch = read_sketch(self.sketch)
        gallery = Gallery.load(self.gallery, index=self.index, device=self.device)
        if not len(gallery):
            raise ValueError(f"{self.gallery}: holds no photos; `fgsbir index` puts some in")
        matches = gallery.search(
            sketch,
            self.k,
            attribute_weight=self.attribute_weight,
            required={
                **dict.fromkeys(self.attribute, True),
                **dict.fromkeys(self.not_attribute, False),
            },
        )
        predicted = gallery.predicted(sketch)
        if self.as_json:
            found = [asdict(match) for match in matches]
            record = {"sketch": predicted, "changes": sketch.changes, "matches": found}
            print(json.dumps(record, indent=2, default=os.fspath))
        else:
            if sketch.changes:
                print(f"sketch: {', '.join(sketch.changes)}", file=sys.stderr)
            shown = [replace(match, path=Path(printable(str(match.path)))) for match in matches]
            print(format_matches(shown))
        if gone := sum(not match.path.is_file() for match in matches):
            print(
                f"note: {gone} of these photos are gone; fgsbir index takes them out, or with "
                "--moved OLD NEW finds them where they are now",
                file=sys.stderr,
            )
        if self.picture is not None:
            from ..gallery.figures import draw_search

            draw_search(sketch, predicted, matches, self.picture)
