"""Type annotations, as a type checker of a user's code reads them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

pytest.importorskip("mypy")

# Where a call is wrong, a comment says so: one that nothing needs is an error of its own.
USE = """
import numpy as np
import torch
from torch import Tensor
from typing_extensions import assert_type

import fgsbir_ext as fx
from fgsbir_ext import reference
from fgsbir_ext.types import ArrayLike, Metric

x, array = torch.eye(3), np.eye(3)
ids = torch.arange(3)
arrays: list[ArrayLike] = [x, array, torch.nn.Parameter(x)]


def of_the_loss(parts: bool) -> None:
    assert_type(fx.attribute_triplet_loss(x, array), Tensor)
    assert_type(fx.attribute_triplet_loss(x, x, return_parts=False, margin="soft"), Tensor)
    assert_type(fx.attribute_triplet_loss(x, x, return_parts=True), fx.LossParts)
    assert_type(fx.attribute_triplet_loss(x, x, return_parts=parts), Tensor | fx.LossParts)
    assert_type(reference.attribute_triplet_loss(x, x, sketch_labels=ids), Tensor)
    assert_type(reference.attribute_triplet_loss(x, x, return_parts=True), fx.LossParts)
    assert_type(
        reference.attribute_triplet_loss(x, x, return_parts=parts), Tensor | fx.LossParts
    )


def of_arrays(metric: Metric) -> None:
    assert_type(fx.pairwise_distance(x, array, metric=metric), Tensor)
    assert_type(fx.attribute_distance(array, x, weights=[1.0, 2.0, 0.5]), Tensor)
    assert_type(fx.mine_batch_hard(array, x, sketch_labels=ids, photo_labels=ids), fx.Triplets)
    assert_type(fx.topk(array, array, 2, attribute_metric="cross_entropy"), tuple[Tensor, Tensor])
    fx.AttributeTripletLoss(attribute_weights=np.ones(3)).forward(array, x, sketch_labels=ids)
    fx.DistributedAttributeTripletLoss(margin="soft", return_parts=True, equal_sizes=True)
    fx.BatchHardMiner(metric="cosine").forward(array, np.arange(3))


def of_mistakes() -> None:
    fx.pairwise_distance(x, array, metric="manhattan")  # type: ignore[arg-type]
    fx.pairwise_distance(x, [1.0])  # type: ignore[arg-type]
    fx.attribute_triplet_loss(x, x, metric="manhattan")  # type: ignore[call-overload]
    fx.attribute_triplet_loss(x, x, logits=x)  # type: ignore[call-overload]
    fx.attribute_triplet_loss(x, x, sketch_labels=3)  # type: ignore[call-overload]
    reference.attribute_triplet_loss(array, x)  # type: ignore[call-overload]
    fx.AttributeTripletLoss(reduction="max")  # type: ignore[arg-type]
    fx.DistributedAttributeTripletLoss(metric="manhattan")  # type: ignore[arg-type]
    fx.attribute_triplet_loss(x, x).triplets  # type: ignore[attr-defined]
"""


@pytest.mark.slow
def test_types_of_a_users_code(tmp_path: Path) -> None:
    (tmp_path / "use.py").write_text(USE)
    # The errors of a package that is installed are not reported either.
    options = ["--strict", "--config-file=", "--follow-imports=silent"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, "use.py"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stdout
