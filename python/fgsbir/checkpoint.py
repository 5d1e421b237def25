"""A trained model on disk: one safetensors file that says everything about itself.

The weights come with the configuration of the run and what is known of its data, as JSON in the
file's metadata. Nothing is pickled, so a file from a stranger cannot run code.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from . import models
from .config import TrainConfig

FILE_NAME = "model.safetensors"
FORMAT = "fgsbir-1"


@dataclass(frozen=True)
class DataFacts:
    """What a model was trained on.

    Attributes:
        name: the training split, ``"shoes/train"``.
        category: ``"shoes"``; None where the data has no categories.
        attribute_names: K names, in the order of the logits; empty without attributes.
    """

    name: str
    category: str | None = None
    attribute_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Run:
    """A model as it came from training, in eval mode.

    Attributes:
        model: the network.
        config: what it was trained with.
        data: what it was trained on.
        epoch: how many epochs it has seen.
    """

    model: models.RetrievalModel
    config: TrainConfig
    data: DataFacts
    epoch: int


def create_model(config: TrainConfig, data: DataFacts) -> models.RetrievalModel:
    """The network that a configuration asks for, with freshly drawn weights."""
    return models.build_model(
        config.model.backbone,
        size=config.model.size,
        width=config.model.width,
        embedding_dim=config.model.embedding_dim,
        attributes=len(data.attribute_names),
        dropout=config.model.dropout,
    )


def save_run(folder: Path, run: Run) -> Path:
    """Writes ``model.safetensors`` into the folder; a reader sees the old file or the new one."""
    facts = {"config": run.config.to_dict(), "data": asdict(run.data), "epoch": run.epoch}
    weights = {name: value.contiguous() for name, value in run.model.state_dict().items()}
    content = save(weights, {"format": FORMAT, "run": json.dumps(facts)})
    path = folder / FILE_NAME
    # In the same folder, since a rename is atomic only within one file system.
    descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=f".{FILE_NAME}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    return path


def load_run(path: str | Path, device: str = "cpu") -> Run:
    """Gives back what :func:`save_run` wrote, by the run's folder or by the file.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when the file is not one of ours, or is damaged.
    """
    file = Path(path)
    if file.is_dir():
        file = file / FILE_NAME
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such checkpoint; `fgsbir train` writes one")
    try:
        with safe_open(file, framework="pt", device=device) as stored:
            metadata: dict[str, str] = stored.metadata() or {}
            weights = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{file}: not a safetensors file, or damaged ({error})") from error
    if metadata.get("format") != FORMAT:
        found = metadata.get("format", "none")
        raise ValueError(f"{file}: expected a checkpoint of format {FORMAT}, got {found}")
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
    except RuntimeError as error:
        raise ValueError(f"{file}: its weights do not fit its configuration ({error})") from error
    return Run(model.eval(), config, data, facts["epoch"])
