"""Sampler of batches whose instances share attributes, so that mining finds hard negatives."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from ..data.instance_attributes import expected_difference


def attribute_batches(
    described: NDArray[np.int8], count: int, generator: Generator
) -> list[Tensor]:
    """Deals instances into batches, as equal in size as possible, each of similar ones.

    Every batch starts from a random instance among those left and takes the nearest of them by
    attributes, ties at random.

    Args:
        described: (I, K) attributes: 1 yes, 0 no, -1 unknown.
        count: how many batches.
        generator: the only source of randomness.

    Returns:
        The instances of each batch, every one once.
    """
    distance = torch.tensor(expected_difference(described, described))
    left = torch.randperm(len(described), generator=generator)
    batches = []
    for size in [len(part) for part in left.tensor_split(count)]:
        # `left` is in random order, so its first is a random one, and a stable sort leaves ties so.
        near_first = distance[left[0], left].clone()
        near_first[0] = -1
        order = near_first.sort(stable=True).indices
        batches.append(left[order[:size]])
        left = left[order[size:].sort().values]
    # The first batch had the choice and the last one got the rest: training sees them in any order.
    return [batches[i] for i in torch.randperm(count, generator=generator).tolist()]
