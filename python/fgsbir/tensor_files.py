"""Reading of safetensors files, with errors that name the damaged file."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

DAMAGED = "not a safetensors file, or damaged"


def read_tensors(
    path: Path, format_name: str, *, device: str = "cpu", damaged: str = DAMAGED
) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors of a file of a format.

    Args:
        path: the file.
        format_name: what ``format`` in its metadata has to be.
        device: where to put the tensors.
        damaged: what an error says of a damaged file.

    Raises:
        ValueError: the file is damaged, or of another format; names it.
    """
    try:
        with safe_open(path, framework="pt", device=device) as stored:
            metadata = _checked(path, stored.metadata(), format_name)
            return metadata, {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path}: {damaged} ({error})") from error


def read_metadata(
    path: Path, format_name: str | None = None, *, damaged: str = DAMAGED
) -> dict[str, str]:
    """The metadata alone, which is fast; of any format for None. Errors as of
    :func:`read_tensors`."""
    try:
        with safe_open(path, framework="pt") as stored:
            return _checked(path, stored.metadata(), format_name)
    except SafetensorError as error:
        raise ValueError(f"{path}: {damaged} ({error})") from error


def _checked(
    path: Path, metadata: dict[str, str] | None, format_name: str | None
) -> dict[str, str]:
    metadata = metadata or {}
    found = metadata.get("format", "none")
    if format_name not in (None, found):
        raise ValueError(f"{path}: expected the format {format_name}, got {found}")
    return metadata
