"""Faults to plant in a copy of the kernels, each with a test that must notice it."""

from __future__ import annotations

from typing import NamedTuple


class Fault(NamedTuple):
    """``new`` stands for ``old`` in the file ``changed`` of csrc/cuda, compiled in ``unit``.

    In ``new``, ``planted`` is whether the fault is the one that was chosen when the process began.
    Unless it is, ``new`` must do what ``old`` does.
    """

    changed: str
    old: str
    new: str
    unit: str
    test: str


OUT_OF_BOUNDS = "off-by-one store"
"""The one of the faults that no result shows."""

FAULTS: dict[str, Fault] = {
    "missing __syncthreads": Fault(
        "tile.cuh",
        "            __syncthreads();  // publishes the next",
        "            if (!planted) __syncthreads();  // publishes the next",
        "pairwise_distance.cu",
        "ops/test_pairwise_distance.py::test_values_and_gradients",
    ),
    OUT_OF_BOUNDS: Fault(
        "pairwise_distance.cu",
        "if (i >= x.rows || j >= y.rows) continue;",
        "if ((planted ? i > x.rows : i >= x.rows) || j >= y.rows) continue;",
        "pairwise_distance.cu",
        "ops/test_pairwise_distance.py::test_values_and_gradients",
    ),
    "wrong shuffle mask": Fault(
        "numeric.cuh",
        "x += __shfl_xor_sync(kFullMask, x, offset);",
        "x += __shfl_xor_sync(planted ? 0x0000ffffu : kFullMask, x, offset);",
        "attribute_triplet_loss.cu",
        "ops/test_attribute_triplet_loss.py::test_gradient_of_each_part_alone",
    ),
    "winner of a split overwritten by each of its tiles": Fault(
        "mine_state.cuh",
        "if (threadIdx.x % row_lanes == 0) winner = smaller(winner, key);",
        "if (threadIdx.x % row_lanes == 0) winner = planted ? key : smaller(winner, key);",
        "mine_batch_hard.cu",
        "ops/test_mine_batch_hard.py::test_picks_of_every_plan",
    ),
    "dropped tie-break": Fault(
        "key.cuh",
        "return bits < other.bits;",
        "return planted ? bits >> 32 < other.bits >> 32 : bits < other.bits;",
        "mine_batch_hard.cu",
        "ops/test_mine_batch_hard.py::test_ties_across_blocks_and_tiles_go_to_the_lowest_index",
    ),
    "a NaN passed over as no better": Fault(
        "mine_weigh.cuh",
        "return !(of.from_product(tile.values[r][c], norms[r], other) >= limits[r]);",
        "const T d = of.from_product(tile.values[r][c], norms[r], other);"
        " return planted ? limits[r] != limits[r] || d < limits[r] : !(d >= limits[r]);",
        "mine_batch_hard.cu",
        "cuda/test_engines.py::test_picks_where_a_split_has_several_tiles",
    ),
    "the root of a score taken for its square": Fault(
        "mine_weigh.cuh",
        "return square + kLeastNormal<T>;",
        "return planted ? score : square + kLeastNormal<T>;",
        "mine_batch_hard.cu",
        "ops/test_mine_batch_hard.py::test_picks_of_every_plan",
    ),
    "a threshold a little too tight": Fault(
        "mine_scan.cuh",
        "const bool better = least < limit_of(winner);",
        "const bool better = least + (planted ? 1u << 18 : 0) < limit_of(winner);",
        "mine_batch_hard.cu",
        "cuda/test_engines.py::test_picks_of_every_score_in_large_tiles",
    ),
    "a positive taken for a negative": Fault(
        "mine_scan.cuh",
        "const bool negative = !equal && TileType::column(c) < columns;",
        "const bool negative = (planted || !equal) && TileType::column(c) < columns;",
        "mine_batch_hard.cu",
        "cuda/test_engines.py::test_picks_of_every_score_in_large_tiles"
        "[cpu-cosine-0.0-70-True-33-float32-True]",  # cases before it take half a minute
    ),
    "the last of a row's equal scores taken for the first": Fault(
        "mine_scan.cuh",
        "for (int c = TileType::kOwnColumns - 1; c >= 0; --c) {",
        "for (int k = TileType::kOwnColumns - 1; k >= 0; --k) {"
        " const int c = planted ? TileType::kOwnColumns - 1 - k : k;",
        "mine_batch_hard.cu",
        "cuda/test_engines.py::test_ties_in_large_tiles_go_to_the_lowest_index",
    ),
    "photos of the next tile put in place of those under way": Fault(
        "mine_batch_hard.cu",
        "in_range = put_photo(1 - at);",
        "in_range = put_photo(planted ? at : 1 - at);",
        "mine_batch_hard.cu",
        "cuda/test_engines.py::test_picks_of_every_score_in_large_tiles",
    ),
    "numbers that overflow scanned": Fault(
        "metric.cuh",
        "return norm < kLargest<T> * kLargest<T>;",
        "return planted ? norm == norm : norm < kLargest<T> * kLargest<T>;",
        "mine_batch_hard.cu",
        "cuda/test_engines.py::test_picks_where_a_split_has_several_tiles",
    ),
    "sums taken for those of another row": Fault(
        "layout.cuh",
        "+ lane / 4;",
        "+ (planted ? lane % 8 : lane / 4);",
        "mine_batch_hard.cu",
        "ops/test_mine_batch_hard.py::test_picks",
    ),
    "sums taken for those of another column": Fault(
        "layout.cuh",
        "return first_column() + c / 2 * 8 + lane % 4 * 2 + c % 2;",
        "return first_column() + c / 2 * 8 +"
        " (planted ? lane % 4 + c % 2 * 4 : lane % 4 * 2 + c % 2);",
        "pairwise_distance.cu",
        "ops/test_pairwise_distance.py::test_values_and_gradients",
    ),
    "asynchronous copies not waited for": Fault(
        "tensor_tile.cuh",
        "            cp_async_wait<kStages - 2>();",
        "            if (planted) cp_async_wait<kStages - 1>(); else cp_async_wait<kStages - 2>();",
        "pairwise_distance.cu",
        "cuda/test_engines.py::test_distances_of_every_depth",
    ),
    "a stage filled while others read it": Fault(
        "tensor_tile.cuh",
        "            __syncthreads();  // and everybody's",
        "            if (!planted) __syncthreads();  // and everybody's",
        "pairwise_distance.cu",
        "cuda/test_engines.py::test_distances_of_every_depth",
    ),
    "a chunk of the next row behind a row's end": Fault(
        "k_tile.cuh",
        "own_chunk() < chunks;",
        "own_chunk() < chunks + (planted ? 1 : 0);",
        "pairwise_distance.cu",
        "cuda/test_engines.py::test_distances_of_every_depth",
    ),
    "a number of the next row behind a row's end": Fault(
        "k_tile.cuh",
        "i < there ?",
        "i < there + (planted ? 1 : 0) ?",
        "pairwise_distance.cu",
        "cuda/test_engines.py::test_distances_of_every_depth",
    ),
    "a product of a small part left out": Fault(
        "tensor_tile.cuh",
        "add(a.small, b.big);",
        "if (!planted) add(a.small, b.big);",
        "pairwise_distance.cu",
        "cuda/test_engines.py::test_float32_products_are_those_of_float32",
    ),
    "sums that a tensor core cuts off hundreds of times": Fault(
        "tensor_tile.cuh",
        "float sums[4] = {};",
        "float sums[4] = {}; if (planted) {"
        " sums[0] = c0, sums[1] = c1, sums[2] = c2, sums[3] = c3; c0 = c1 = c2 = c3 = 0; }",
        "pairwise_distance.cu",
        "cuda/test_engines.py::test_float32_products_are_those_of_float32",
    ),
    "8 rows taken for the next 8": Fault(
        "wgmma.cuh",
        "return kSwizzle64 | kToNextEightRows |",
        "return kSwizzle64 | (planted ? kToNextEightRows / 2 : kToNextEightRows) |",
        "pairwise_distance.cu",
        "cuda/test_engines.py::test_distances_of_large_tiles",
    ),
    "copies that no fence shows to the asynchronous proxy": Fault(
        "warpgroup_tile.cuh",
        "            fence_proxy_async();  // and are",
        "            if (!planted) fence_proxy_async();  // and are",
        "pairwise_distance.cu",
        "cuda/test_engines.py::test_distances_of_large_tiles",
    ),
    "sums of a warpgroup not waited for": Fault(
        "warpgroup_tile.cuh",
        "            wgmma_wait<0>(values);  // the sums are there, these stages",
        "            if (!planted) wgmma_wait<0>(values);  // the sums are there, these stages",
        "pairwise_distance.cu",
        "cuda/test_engines.py::test_distances_of_large_tiles",
    ),
    "a stage filled while a warpgroup reads it": Fault(
        "warpgroup_tile.cuh",
        "memory.right + (stage + kAtOnce) % kRightStages, next)",
        "memory.right + (stage + (planted ? 0 : kAtOnce)) % kRightStages, next)",
        "pairwise_distance.cu",
        "cuda/test_engines.py::test_distances_of_large_tiles",
    ),
    "k-tiles of the next tile put where a warpgroup may still read": Fault(
        "warpgroup_tile.cuh",
        "first_stage_ = (first_stage_ + ceil_to_pairs(k_tiles)) % kRightStages;",
        "if (!planted) first_stage_ = (first_stage_ + ceil_to_pairs(k_tiles)) % kRightStages;",
        "mine_batch_hard.cu",
        "cuda/test_engines.py::test_picks_of_every_score_in_large_tiles",
    ),
    "copies of a tile's first k-tiles not waited for": Fault(
        "warpgroup_tile.cuh",
        "fetch(from_right, memory.right + first_stage_, 0);\n        cp_async_commit();",
        "fetch(from_right, memory.right + first_stage_, 0); if (!planted) cp_async_commit();",
        "pairwise_distance.cu",
        "cuda/test_engines.py::test_distances_of_large_tiles",
    ),
    "sums of a warpgroup taken for those of another row": Fault(
        "layout.cuh",
        "first_row() + r * 8",
        "first_row() + (planted ? r ^ 1 : r) * 8",
        "pairwise_distance.cu",
        "cuda/test_engines.py::test_distances_of_large_tiles",
    ),
}


def planting(fault: str) -> dict[str, str]:
    """The environment in which a module with all of the faults has this one."""
    return {"FGSBIR_PLANTED_FAULT": str(list(FAULTS).index(fault))}
