"""Faults to plant in a copy of the kernels, each with a test that must notice it."""

from __future__ import annotations

from typing import NamedTuple


class Fault(NamedTuple):
    """``old`` reads ``new`` in the file ``changed`` of csrc/cuda, compiled as part of ``unit``."""

    changed: str
    old: str
    new: str
    unit: str
    test: str


FAULTS: dict[str, Fault] = {
    "missing __syncthreads": Fault(
        "tile.cuh",
        "            __syncthreads();  // publishes the next",
        "            // publishes the next",
        "pairwise_distance.cu",
        "ops/test_pairwise_distance.py::test_values_and_gradients",
    ),
    "off-by-one store": Fault(
        "pairwise_distance.cu",
        "if (i >= x.rows || j >= y.rows) continue;",
        "if (i > x.rows || j >= y.rows) continue;",
        "pairwise_distance.cu",
        "ops/test_pairwise_distance.py::test_values_and_gradients",
    ),
    "wrong shuffle mask": Fault(
        "numeric.cuh",
        "x += __shfl_xor_sync(kFullMask, x, offset);",
        "x += __shfl_xor_sync(0x0000ffffu, x, offset);",
        "attribute_triplet_loss.cu",
        "ops/test_attribute_triplet_loss.py::test_gradient_of_each_part_alone",
    ),
    "winner of a split overwritten by each of its tiles": Fault(
        "mine_state.cuh",
        "if (threadIdx.x % row_lanes == 0) winner = smaller(winner, key);",
        "if (threadIdx.x % row_lanes == 0) winner = key;",
        "mine_batch_hard.cu",
        "ops/test_mine_batch_hard.py::test_picks_of_every_plan",
    ),
    "dropped tie-break": Fault(
        "key.cuh",
        "return bits < other.bits;",
        "return bits >> 32 < other.bits >> 32;",
        "mine_batch_hard.cu",
        "ops/test_mine_batch_hard.py::test_ties_across_blocks_and_tiles_go_to_the_lowest_index",
    ),
    "a NaN passed over as no better": Fault(
        "mine_weigh.cuh",
        "return !(of.from_product(tile.values[r][c], norms[r], other) >= limits[r]);",
        "return limits[r] != limits[r] ||"
        " of.from_product(tile.values[r][c], norms[r], other) < limits[r];",
        "mine_batch_hard.cu",
        "cuda/test_engines.py::test_picks_where_a_split_has_several_tiles",
    ),
    "the root of a score taken for its square": Fault(
        "mine_weigh.cuh",
        "return square + kLeastNormal<T>;",
        "return score;",
        "mine_batch_hard.cu",
        "ops/test_mine_batch_hard.py::test_picks_of_every_plan",
    ),
    "a threshold a little too tight": Fault(
        "mine_scan.cuh",
        "const bool better = least < limit_of(winner);",
        "const bool better = least + (1u << 18) < limit_of(winner);",
        "mine_batch_hard.cu",
        "cuda/test_engines.py::test_picks_of_every_score_in_large_tiles",
    ),
    "a positive taken for a negative": Fault(
        "mine_scan.cuh",
        "const bool negative = !equal && TileType::column(c) < columns;",
        "const bool negative = TileType::column(c) < columns;",
        "mine_batch_hard.cu",
        "cuda/test_engines.py::test_picks_of_every_score_in_large_tiles",
    ),
    "the last of a row's equal scores taken for the first": Fault(
        "mine_scan.cuh",
        "for (int c = TileType::kOwnColumns - 1; c >= 0; --c) {",
        "for (int c = 0; c < TileType::kOwnColumns; ++c) {",
        "mine_batch_hard.cu",
        "cuda/test_engines.py::test_ties_in_large_tiles_go_to_the_lowest_index",
    ),
    "photos of the next tile put in place of those under way": Fault(
        "mine_batch_hard.cu",
        "in_range = put_photo(1 - at);",
        "in_range = put_photo(at);",
        "mine_batch_hard.cu",
        "cuda/test_engines.py::test_picks_of_every_score_in_large_tiles",
    ),
    "numbers that overflow scanned": Fault(
        "metric.cuh",
        "return norm < kLargest<T> * kLargest<T>;",
        "return norm == norm;",
        "mine_batch_hard.cu",
        "cuda/test_engines.py::test_picks_where_a_split_has_several_tiles",
    ),
    "sums taken for those of another row": Fault(
        "layout.cuh",
        "return first_row() + r * 8 + lane / 4;",
        "return first_row() + r * 8 + lane % 8;",
        "mine_batch_hard.cu",
        "ops/test_mine_batch_hard.py::test_picks",
    ),
    "sums taken for those of another column": Fault(
        "layout.cuh",
        "return first_column() + c / 2 * 8 + lane % 4 * 2 + c % 2;",
        "return first_column() + c / 2 * 8 + lane % 4 + c % 2 * 4;",
        "pairwise_distance.cu",
        "ops/test_pairwise_distance.py::test_values_and_gradients",
    ),
    "asynchronous copies not waited for": Fault(
        "tensor_tile.cuh",
        "            cp_async_wait<kStages - 2>();",
        "            cp_async_wait<kStages - 1>();",
        "pairwise_distance.cu",
        "cuda/test_engines.py::test_distances_of_every_depth",
    ),
    "a stage filled while others read it": Fault(
        "tensor_tile.cuh",
        "            __syncthreads();  // and everybody's",
        "            // and everybody's",
        "pairwise_distance.cu",
        "cuda/test_engines.py::test_distances_of_every_depth",
    ),
    "a chunk of the next row behind a row's end": Fault(
        "k_tile.cuh",
        "own_chunk() < chunks;",
        "own_chunk() <= chunks;",
        "pairwise_distance.cu",
        "cuda/test_engines.py::test_distances_of_every_depth",
    ),
    "a number of the next row behind a row's end": Fault(
        "k_tile.cuh",
        "i < there ?",
        "i <= there ?",
        "pairwise_distance.cu",
        "cuda/test_engines.py::test_distances_of_every_depth",
    ),
    "a product of a small part left out": Fault(
        "tensor_tile.cuh",
        "            add(a.small, b.big);\n",
        "",
        "pairwise_distance.cu",
        "cuda/test_engines.py::test_float32_products_are_those_of_float32",
    ),
    "sums that a tensor core cuts off hundreds of times": Fault(
        "tensor_tile.cuh",
        "float sums[4] = {};",
        "float sums[4] = {c0, c1, c2, c3}; c0 = c1 = c2 = c3 = 0;",
        "pairwise_distance.cu",
        "cuda/test_engines.py::test_float32_products_are_those_of_float32",
    ),
    "8 rows taken for the next 8": Fault(
        "wgmma.cuh",
        "uint64_t(8 * kKTileBytes / kDescriptorUnit) << 32",
        "uint64_t(4 * kKTileBytes / kDescriptorUnit) << 32",
        "pairwise_distance.cu",
        "cuda/test_engines.py::test_distances_of_large_tiles",
    ),
    "copies that no fence shows to the asynchronous proxy": Fault(
        "warpgroup_tile.cuh",
        "            fence_proxy_async();  // and are",
        "            // and are",
        "pairwise_distance.cu",
        "cuda/test_engines.py::test_distances_of_large_tiles",
    ),
    "sums of a warpgroup not waited for": Fault(
        "warpgroup_tile.cuh",
        "            wgmma_wait<0>(values);  // the sums are there, these stages",
        "            // the sums are there, these stages",
        "pairwise_distance.cu",
        "cuda/test_engines.py::test_distances_of_large_tiles",
    ),
    "a stage filled while a warpgroup reads it": Fault(
        "warpgroup_tile.cuh",
        "memory.right + (stage + kAtOnce) % kRightStages, next)",
        "memory.right + stage % kRightStages, next)",
        "pairwise_distance.cu",
        "cuda/test_engines.py::test_distances_of_large_tiles",
    ),
    "k-tiles of the next tile put where a warpgroup may still read": Fault(
        "warpgroup_tile.cuh",
        "first_stage_ = (first_stage_ + ceil_to_pairs(k_tiles)) % kRightStages;",
        "",
        "mine_batch_hard.cu",
        "cuda/test_engines.py::test_picks_of_every_score_in_large_tiles",
    ),
    "copies of a tile's first k-tiles not waited for": Fault(
        "warpgroup_tile.cuh",
        "fetch(from_right, memory.right + first_stage_, 0);\n        cp_async_commit();",
        "fetch(from_right, memory.right + first_stage_, 0);",
        "pairwise_distance.cu",
        "cuda/test_engines.py::test_distances_of_large_tiles",
    ),
    "sums of a warpgroup taken for those of another row": Fault(
        "layout.cuh",
        "return first_row() + r * 8 + lane / 4;",
        "return first_row() + (r ^ 1) * 8 + lane / 4;",
        "pairwise_distance.cu",
        "cuda/test_engines.py::test_distances_of_large_tiles",
    ),
}
