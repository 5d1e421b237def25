"""Fused batch-hard mining, triplet and attribute losses for PyTorch.

The kernels are chosen by the device of the tensors; :mod:`fgsbir_ext.reference` states the same
functions in plain PyTorch. Annotations are in :mod:`fgsbir_ext.types`, collectives with gradients,
for further terms of a loss over a global batch, in :mod:`fgsbir_ext.collectives`.
"""

from . import reference
from ._build_info import BuildInfo, build_info
from ._C import version as __version__
from ._checks import set_debug_checks
from ._functional import (
    attribute_distance,
    attribute_triplet_loss,
    mine_batch_hard,
    pairwise_distance,
    topk,
)
from .distributed import DistributedAttributeTripletLoss
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
