"""Whitening of the channels of maps."""

from __future__ import annotations

import torch
from torch import Tensor

# Chosen on the training split of QMUL Shoe and Chair: docs/results.md.
SHRINKAGE = 1.0  # what is added to each variance, in units of the mean variance


def whitening(channels: int, kept: int, *domains: Tensor) -> Tensor:
    """(C, K) from C channels to the K strongest directions in them, of about equal variance.

    Args:
        channels: C, of a cell.
        kept: K, of C at most.
        domains: (N, D) of C * cells numbers a row, centred. The covariance of channels is the sum
            of those of the domains.
    """
    covariance = torch.zeros(channels, channels, dtype=torch.float64)
    for domain in domains:
        cells = domain.double().view(len(domain), channels, -1).transpose(1, 2).flatten(0, 1)
        covariance += cells.T @ cells / len(cells)
    variances, directions = torch.linalg.eigh(covariance)
    shrunk = variances + SHRINKAGE * variances.mean() + torch.finfo(torch.float32).tiny
    return (directions * shrunk.rsqrt())[:, -kept:].float().contiguous()
