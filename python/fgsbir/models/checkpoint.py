"""Checkpoints: one safetensors file with the weights, the configuration and facts of the data.

The weights come with the configuration of the run and what is known of its data, as JSON in the
file's metadata. Nothing is pickled, so a file from a stranger cannot run code.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import nn

from ..atomic_files import file_digest, write_atomically
from ..config import BackboneName, ModelConfig, PretrainConfig, TrainConfig
from ..tensor_files import read_metadata, read_tensors
from .imagenet import IMAGENET
from .preprocess import Preprocessing
from .registry import backbone_entry, configured_model
from .retrieval import RetrievalModel

FILE_NAME = "model.safetensors"
FORMAT = "fgsbir-1"
BACKBONE_NAME = "trunk.safetensors"
BACKBONE_FORMAT = "fgsbir-trunk-1"
OF_BACKBONE = ("backbone", "width", "batch_norm")
"""Settings of a model that its backbone's weights depend on."""


@dataclass(frozen=True)
class DataFacts:
    """What a model was trained on.

    Attributes:
        name: the training split, ``"shoes/train"``.
        category: ``"shoes"``, or ``"shoes+chairs"`` of a joint model; None where the data has no
            categories.
        attribute_names: K names, in the order of the logits; empty without attributes.
        digest: SHA-256 of all images, labels and attributes, and of the weights started from; two
            models of different digests were trained on different things.
    """

    name: str
    category: str | None = None
    attribute_names: tuple[str, ...] = ()
    digest: str = field(default="", compare=False)

    def columns_of(self, names: Sequence[str]) -> list[int] | None:
        """Which logits predict the attributes of these names; None without attributes.

        Raises:
            ValueError: when some of the names are none that the model predicts.
        """
        if not self.attribute_names or not names:
            return None
        if unknown := [name for name in names if name not in self.attribute_names]:
            raise ValueError(
                f"attributes that the model was not trained on: {', '.join(unknown)}; it knows "
                f"{', '.join(self.attribute_names)}"
            )
        return [self.attribute_names.index(name) for name in names]


@dataclass(frozen=True)
class Pretrained:
    """A backbone as it came from pretraining.

    Attributes:
        backbone: the network below the heads.
        config: what it was trained with.
        data: name of what it was trained on.
        epoch: how many epochs it has seen.
        digest: SHA-256 of the images and labels.
    """

    backbone: nn.Module
    config: PretrainConfig
    data: str
    epoch: int
    digest: str = ""


@dataclass(frozen=True)
class Run:
    """A model as it came from training, in eval mode.

    Attributes:
        model: the network.
        config: what it was trained with.
        data: what it was trained on.
        epoch: how many epochs it has seen.
    """

    model: RetrievalModel
    config: TrainConfig
    data: DataFacts
    epoch: int


def create_model(config: TrainConfig | PretrainConfig, data: DataFacts) -> RetrievalModel:
    """The network that a configuration asks for, with freshly drawn weights."""
    return configured_model(config.model, len(data.attribute_names))


def untrained_run(backbone: BackboneName) -> Run:
    """A backbone with its weights from ImageNet, whose map is the embedding.

    Raises:
        ValueError: the weights are not installed, or are damaged.
    """
    config = TrainConfig(model=ModelConfig(backbone, head="cells"), init=IMAGENET)
    facts = DataFacts("ImageNet")
    model = create_model(config, facts)
    init_backbone(model, config.model, IMAGENET)
    return Run(model.eval(), config, facts, 0)


def encode_run(run: Run) -> bytes:
    """The content of ``model.safetensors``: the same bytes for the same run."""
    facts = {"config": run.config.to_dict(), "data": asdict(run.data), "epoch": run.epoch}
    metadata = {
        "format": FORMAT,
        "run": json.dumps(facts),
        "preprocessing": json.dumps(run.model.preprocessing.to_dict()),
    }
    weights = {name: value.contiguous() for name, value in run.model.state_dict().items()}
    return _in_order(save(weights, metadata))


def save_run(folder: Path, run: Run) -> Path:
    """Writes ``model.safetensors`` into the folder; a reader sees the old file or the new one."""
    path = folder / FILE_NAME
    write_atomically(path, encode_run(run))
    return path


def read_facts(path: Path) -> dict[str, Any]:
    """What a checkpoint says of its run, without the weights: ``config``, ``data``, ``epoch`` ...

    Raises:
        ValueError: when the file is damaged.
    """
    facts: dict[str, Any] = json.loads(read_metadata(path).get("run", "{}"))
    return facts


def load_run(path: str | Path, device: str = "cpu") -> Run:
    """Gives back what :func:`save_run` wrote, by the run's folder or by the file.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when the file is not one of ours, or is damaged.
    """
    file = _find(path, FILE_NAME, "fgsbir train")
    metadata, weights = read_tensors(file, FORMAT, device=device)
    facts: dict[str, Any] = json.loads(metadata["run"])
    try:
        config = TrainConfig.from_dict(facts["config"])
    except TypeError as error:
        raise ValueError(f"{file}: written by another version of fgsbir ({error})") from error
    data = DataFacts(
        **{**facts["data"], "attribute_names": tuple(facts["data"]["attribute_names"])}
    )
    model = create_model(config, data).to(device)
    try:
        model.load_state_dict(weights)
        if "preprocessing" in metadata:  # else by a version that knew one for each backbone
            given = Preprocessing.from_dict(json.loads(metadata["preprocessing"]))
            built = model.preprocessing
            if (given.size, given.channels) != (built.size, built.channels):
                raise ValueError(f"its preprocessing does not fit its configuration ({given})")
            model.preprocessing = given
    except RuntimeError as error:
        raise ValueError(f"{file}: its weights do not fit its configuration ({error})") from error
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    return Run(model.eval(), config, data, facts["epoch"])


def save_pretrained(folder: Path, pretrained: Pretrained) -> Path:
    """Writes ``trunk.safetensors`` into the folder; a reader sees the old file or the new one."""
    facts = {
        "config": pretrained.config.to_dict(),
        "data": pretrained.data,
        "digest": pretrained.digest,
        "epoch": pretrained.epoch,
    }
    weights = {name: value.contiguous() for name, value in pretrained.backbone.state_dict().items()}
    path = folder / BACKBONE_NAME
    write_atomically(path, save(weights, {"format": BACKBONE_FORMAT, "run": json.dumps(facts)}))
    return path


def load_pretrained(path: str | Path) -> Pretrained:
    """Gives back what :func:`save_pretrained` wrote, by the run's folder or by the file.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when the file is not one of ours, or is damaged.
    """
    file = _find(path, BACKBONE_NAME, "fgsbir pretrain")
    metadata, weights = read_tensors(file, BACKBONE_FORMAT)
    facts: dict[str, Any] = json.loads(metadata["run"])
    config = PretrainConfig.from_dict(facts["config"])
    backbone = create_model(config, DataFacts(facts["data"])).trunk
    try:
        backbone.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"{file}: its weights do not fit its configuration ({error})") from error
    return Pretrained(
        backbone.eval(), config, facts["data"], facts["epoch"], facts.get("digest", "")
    )


def init_backbone(model: RetrievalModel, config: ModelConfig, path: str | Path) -> str:
    """Starts the backbone of a model from what `fgsbir pretrain` or `fgsbir train` left.

    Args:
        model: whose backbone to start.
        config: of the model.
        path: the folder, the file in it, or ``"imagenet"`` for the published weights.

    Returns:
        SHA-256 of the file that it came from.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when the file is not one of ours, is damaged, or is of another network; when
            there are no published weights, or they are not installed.
    """
    if path == IMAGENET:
        published = backbone_entry(config.backbone).imagenet
        if published is None:
            raise ValueError(f"init: there are no weights from ImageNet for {config.backbone}")
        published.load(model.trunk)
        return published.sha256
    folder = Path(path)
    if (folder / FILE_NAME).is_file() or folder.name == FILE_NAME:
        file = _find(folder, FILE_NAME, "fgsbir train")
        run = load_run(file)
        theirs, weights = run.config.model, run.model.trunk.state_dict()
    else:
        file = _find(folder, BACKBONE_NAME, "fgsbir pretrain")
        pretrained = load_pretrained(file)
        theirs, weights = pretrained.config.model, pretrained.backbone.state_dict()
    # By their order: the names of the same layers depend on the number of maps.
    names = model.trunk.state_dict()
    try:
        model.trunk.load_state_dict(dict(zip(names, weights.values(), strict=True)))
    except (RuntimeError, ValueError) as error:
        different = ", ".join(
            f"{name} {getattr(theirs, name)} instead of {getattr(config, name)}"
            for name in OF_BACKBONE
            if getattr(theirs, name) != getattr(config, name)
        )
        raise ValueError(f"{path}: its backbone is another one, of {different}") from error
    return file_digest(file)


def _in_order(content: bytes) -> bytes:
    """A safetensors file with the entries of its header sorted; they come in any order."""
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:start]), sort_keys=True).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[start:]


def _find(path: str | Path, name: str, writer: str) -> Path:
    """The file of a name in a folder, or the file itself."""
    file = Path(path)
    if file.is_dir():
        file = file / name
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such checkpoint; `{writer}` writes one")
    return file
