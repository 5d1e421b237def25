"""Fused batch-hard mining, triplet and attribute losses for PyTorch.

The kernels are chosen by the device of the tensors; :mod:`fgsbir_ext.reference` states the same
functions in plain PyTorch.
"""

from . import reference
from ._C import version as __version__
from .build_info import BuildInfo, build_info
from .checks import set_debug_checks
from .distributed import DistributedAttributeTripletLoss
from .functional import (
    attribute_distance,
    attribute_triplet_loss,
    mine_batch_hard,
    pairwise_distance,
    topk,
)
from .losses import AttributeTripletLoss
from .miners import BatchHardMiner
from .types import LossParts, Triplets

__all__ = [
    "AttributeTripletLoss",
    "BatchHardMiner",
    "BuildInfo",
    "DistributedAttributeTripletLoss",
    "LossParts",
    "Triplets",
    "__version__",
    "attribute_distance",
    "attribute_triplet_loss",
    "build_info",
    "mine_batch_hard",
    "pairwise_distance",
    "reference",
    "set_debug_checks",
    "topk",
]
