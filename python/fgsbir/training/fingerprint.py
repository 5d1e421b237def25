"""Fingerprint of a run, and refusal to resume a run with another one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config import PretrainConfig, TrainConfig

NOT_OF_THE_TASK = frozenset({"config.device", "config.eval_every"})
"""Settings that a run may go on with others of: where it computes, and how often it is scored."""


LONGER = (
    "; the learning rate falls over all epochs, so to train longer --init from the run's folder"
)


def content_digest(*parts: NDArray[Any] | str | None) -> str:
    """SHA-256 of arrays and texts, with their types and shapes, in hexadecimal."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).data)
        else:
            digest.update(repr(part).encode())
    return digest.hexdigest()


def refuse_other_task(found: dict[str, Any], asked: dict[str, Any], what: str) -> None:
    """Raises a ValueError that says in what two tasks differ, if they do."""
    ours = dict(_flat(asked))
    # A setting that came with a later version has a default of what was done before.
    defaults = {name: value for name, value in _DEFAULTS.items() if name in ours}
    theirs = {**defaults, **dict(_flat(found))}
    # Through JSON a tuple has become a list.
    different = [
        f"{name} {theirs.get(name)} instead of {ours.get(name)}"
        for name in sorted((ours.keys() | theirs.keys()) - NOT_OF_THE_TASK)
        if json.dumps(ours.get(name)) != json.dumps(theirs.get(name))
    ]
    if different:
        longer = any(one.startswith("config.optim.epochs ") for one in different)
        raise ValueError(
            f"{what} with other settings or data ({', '.join(different)}); choose another --out, "
            f"or --overwrite{LONGER if longer else ''}"
        )


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


_DEFAULTS = dict(_flat({"config": {**PretrainConfig().to_dict(), **TrainConfig().to_dict()}}))
