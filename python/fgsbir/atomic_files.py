"""Atomic writes, a lock on a folder, and digests of files."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def write_atomically(path: Path, content: bytes) -> None:
    """Replaces a file: a reader, and a run that was killed, sees the old one or the new one."""
    # In the same folder, since a rename is atomic only within one file system.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, content: Any, *, indent: int | None = None) -> None:
    """Replaces a file as :func:`write_atomically` does, by JSON; paths become text."""
    write_atomically(path, (json.dumps(content, indent=indent, default=os.fspath) + "\n").encode())


@contextmanager
def exclusive(folder: Path, *names: str) -> Iterator[None]:
    """Makes a folder and holds it, so that no second run writes into it meanwhile.

    The operating system lets go when the process ends, however it ends. What a killed run left
    half written of the files of these names is removed.

    Raises:
        ValueError: when another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(f"{folder}: another run is writing into this folder") from error
        except OSError as error:  # some network file systems have no locks on folders
            warnings.warn(f"{folder}: not protected from a second run ({error})", stacklevel=3)
        for name in names:
            for left in folder.glob(f".{name}.*"):
                left.unlink()
        yield
    finally:
        os.close(descriptor)


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
