// Epilogue of mining for finite scores in float32: all of them, in registers, without a branch.
//
// The score takes the register of its product, in about ten instructions, and each thread finds the
// smallest of each of its rows. Only where that is better than the row's winner is it looked for
// which column has it. So what pairs cost does not depend on how many of them come near to winning:
// where attributes guide, one pair in seven has a d below the best score.
//
// For attributes without weights, at most 64 of them (32 where guidance is infinite, or a tile has
// registers for no more), and rows that are tame: neither NaN nor near overflow.
#pragma once

#include "mine_state.cuh"

namespace fgsbir::cuda {

// Scores are not negative, so that as unsigned integers their bits are in their order. Infinity, in
// place of what is no negative, never wins.
constexpr unsigned kInfinityBits = 0x7f800000u;

// Only smaller bits can win against this winner; against a NaN none.
__device__ inline unsigned limit_of(const Key<float>& winner) {
    constexpr unsigned kSign = 0x80000000u;
    const auto ordered = static_cast<unsigned>(winner.bits >> 32);
    return ordered < kSign ? 0 : min(ordered ^ kSign, kInfinityBits);
}

// Photo data of neighbouring columns, in loads of up to 16 bytes.
template <int kCount, typename V>
struct alignas(kCount * sizeof(V) < 16 ? kCount * sizeof(V) : 16) Neighbours {
    V at[kCount];
    __device__ static const Neighbours& of(const V* first) {
        return *reinterpret_cast<const Neighbours*>(first);
    }
};

// Calls f(value, r, photos...) for each of the thread's pairs, with what arrays in shared memory
// have of its photo.
template <typename TileType, typename F, typename... V>
__device__ __forceinline__ void for_each_pair(TileType& tile, F f, const V*... of_photos) {
    constexpr int kVector = TileType::kColumnVector;
#pragma unroll
    for (int v = 0; v < TileType::kOwnColumns; v += kVector) {
        const int column = TileType::column(v);
        [&](const auto&... photos) {
#pragma unroll
            for (int c = 0; c < kVector; ++c) {
#pragma unroll
                for (int r = 0; r < TileType::kOwnRows; ++r) {
                    f(tile.values[r][v + c], r, photos.at[c]...);
                }
            }
        }(Neighbours<kVector, V>::of(of_photos + column)...);
    }
}

// Puts its score in place of every product of this thread.
template <typename Unrooted, typename S, typename TileType>
__device__ __forceinline__ void score(const MineArguments<S>& in, TileType& tile,
                                      const PhotoStates<float, TileType::kColumns>& photos,
                                      MineMemory<float, TileType>& memory) {
    constexpr int kRows = TileType::kOwnRows;
    float norms[kRows];
#pragma unroll
    for (int r = 0; r < kRows; ++r) norms[r] = memory.sketch(r).norm;
    const auto put_distance = [&](float& value, int r, float norm) {
        const float unrooted = Unrooted::from_product(value, norms[r], norm);
        value = __int_as_float(max(__float_as_int(unrooted), 0));  // -0 is no score
    };
    for_each_pair(tile, put_distance, photos.norms);
    if (in.guidance == Guidance::none) return;

    if (in.rooted) {
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
#pragma unroll
            for (float& value : tile.values[r]) value = root(value);
        }
    }
    uint2 codes[kRows];
#pragma unroll
    for (int r = 0; r < kRows; ++r) codes[r] = memory.sketch(r).codes[0];
    // The count's bits, read as a float, are count * 2^-149. Multiplying converts them four times
    // faster than a conversion does.
    const auto add = [&](float& value, int count) {
        value = std::fma(__int_as_float(count) * 0x1p126f, in.share * 0x1p23f, value);
    };
    if (in.guidance == Guidance::lexicographic) {
        int closest[kRows];
#pragma unroll
        for (int r = 0; r < kRows; ++r) closest[r] = memory.sketch(r).closest;
        const auto put = [&](float& value, int r, uint2 code) {
            if (__popc(differing(codes[r], code)) > closest[r]) {
                value = __uint_as_float(kInfinityBits);
            }
        };
        for_each_pair(tile, put, photos.codes[0]);
    } else if (TileType::kScannedWords == 1 || in.codes.k <= 32) {
        const auto put = [&](float& value, int r, uint2 code) {
            add(value, __popc(differing(codes[r], code)));
        };
        for_each_pair(tile, put, photos.codes[0]);
    } else if constexpr (TileType::kScannedWords == 2) {
        uint2 more[kRows];
#pragma unroll
        for (int r = 0; r < kRows; ++r) more[r] = memory.sketch(r).codes[1];
        const auto put = [&](float& value, int r, uint2 code, uint2 other) {
            add(value, __popc(differing(codes[r], code)) + __popc(differing(more[r], other)));
        };
        for_each_pair(tile, put, photos.codes[0], photos.codes[1]);
    }
}

// Calls f(r, c, whether the labels are equal) for each of the thread's pairs, of which those in
// missing columns are not equal.
template <typename TileType, typename F>
__device__ __forceinline__ void for_each_label(const PhotoStates<float, TileType::kColumns>& photos,
                                               MineMemory<float, TileType>& memory, int columns,
                                               F f) {
#pragma unroll
    for (int c = 0; c < TileType::kOwnColumns; ++c) {
        const int column = TileType::column(c);
        const int64_t label = photos.labels[column];
#pragma unroll
        for (int r = 0; r < TileType::kOwnRows; ++r) {
            f(r, c, column < columns && memory.sketch(r).label == label);
        }
    }
}

// Takes the positives of a tile into account, which are few. The whole warp must call it.
template <typename S, typename TileType>
__device__ __forceinline__ void scan_positives(const MineArguments<S>& in, const TileType& tile,
                                               int64_t first_row, int64_t first_column, int columns,
                                               const PhotoStates<float, TileType::kColumns>& photos,
                                               MineMemory<float, TileType>& memory) {
    static_assert(TileType::kOwnColumns <= 32, "a bit for each");
    unsigned positive[TileType::kOwnRows] = {};
    for_each_label(photos, memory, columns, [&](int r, int c, bool equal) {
        if (equal) positive[r] |= 1u << c;
    });
#pragma unroll
    for (int r = 0; r < TileType::kOwnRows; ++r) {
        SketchState<float>& sketch = memory.sketch(r);
        for (unsigned found = warp_or(positive[r]); found != 0; found &= found - 1) {
            const int at = __ffs(static_cast<int>(found)) - 1;
            float product = 0;
#pragma unroll
            for (int c = 0; c < TileType::kOwnColumns; ++c) {
                if (c == at) product = tile.values[r][c];
            }
            const int column = TileType::column(at);
            const int64_t i = first_row + TileType::row(r), j = first_column + column;
            const float d = in.distance(product, sketch.norm, photos.norms[column]);
            const bool counts = (positive[r] >> at & 1) != 0 && !(in.exclude_self && i == j);
            const Key<float> key = counts ? Key<float>::of(-d, j) : Key<float>::none();
            update(sketch.positive, key, TileType::kRowLanes);
        }
    }
}

// Takes all pairs of a tile into account. The whole warp must call it.
template <typename Unrooted, typename S, typename TileType>
__device__ __forceinline__ void scan(const MineArguments<S>& in, TileType& tile, int64_t first_row,
                                     int64_t first_column, int columns, bool has_positives,
                                     const PhotoStates<float, TileType::kColumns>& photos,
                                     MineMemory<float, TileType>& memory) {
    if (has_positives) {
        scan_positives(in, tile, first_row, first_column, columns, photos, memory);
    }
    score<Unrooted>(in, tile, photos, memory);
    if (has_positives || columns < TileType::kColumns) {
        for_each_label(photos, memory, columns, [&](int r, int c, bool equal) {
            const bool negative = !equal && TileType::column(c) < columns;
            if (!negative) tile.values[r][c] = __uint_as_float(kInfinityBits);
        });
    }
#pragma unroll
    for (int r = 0; r < TileType::kOwnRows; ++r) {
        unsigned least = kInfinityBits;
#pragma unroll
        for (int c = 0; c < TileType::kOwnColumns; ++c) {
            least = min(least, __float_as_uint(tile.values[r][c]));
        }
        Key<float>& winner = memory.sketch(r).negative;
        const bool better = least < limit_of(winner);
        if (__ballot_sync(kFullMask, better) == 0) continue;
        int first = 0;
#pragma unroll
        for (int c = TileType::kOwnColumns - 1; c >= 0; --c) {
            if (__float_as_uint(tile.values[r][c]) == least) first = c;
        }
        const int64_t j = first_column + TileType::column(first);
        const Key<float> key = Key<float>::of(__uint_as_float(least), j);
        __syncwarp();  // all lanes have read the winner
        update(winner, better ? key : Key<float>::none(), TileType::kRowLanes);
    }
}

}  // namespace fgsbir::cuda
