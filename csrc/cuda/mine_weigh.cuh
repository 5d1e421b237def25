// Epilogue of mining for any scores: the few pairs that may win have their exact score computed.
//
// beta h only adds to d. So a pair whose d is no smaller than the best score of its row's earlier
// tiles is passed over in three or four instructions, and soon almost all are unless attributes
// guide; the others, and those with equal labels, have h, score and key computed.
#pragma once

#include <limits>

#include "mine_state.cuh"

namespace fgsbir::cuda {

// Pairs that a thread takes into account together: kGroup of its columns of one of its rows.
constexpr int kGroup = 2;
template <typename TileType>
constexpr int kGroups = TileType::kOwnColumns / kGroup;  // of a row

template <typename T>
constexpr T kEpsilon = std::numeric_limits<T>::epsilon();
template <typename T>
constexpr T kLeastNormal = std::numeric_limits<T>::min();

// At or above this, what a product gives is no better than the score: its root is not, and
// beta h does not make it so. False of every distance where there is no score yet.
template <typename T>
__device__ inline T no_better_from(T score, bool rooted) {
    if (!rooted) return score;
    const T square = score * score * (1 + 8 * kEpsilon<T>);
    return square + kLeastNormal<T>;
}

// The groups of this thread with a pair of which may_win(r, c) is true: bit r * kGroups + g for
// group g of row r.
template <typename TileType, typename MayWin>
__device__ __forceinline__ unsigned groups_with(MayWin may_win) {
    static_assert(TileType::kOwnRows * kGroups<TileType> <= 32, "a bit for each");
    unsigned found = 0;
#pragma unroll
    for (int g = 0; g < kGroups<TileType>; ++g) {
#pragma unroll
        for (int r = 0; r < TileType::kOwnRows; ++r) {
            bool any = false;
#pragma unroll
            for (int c = 0; c < kGroup; ++c) any |= may_win(r, g * kGroup + c);
            if (any) found |= 1u << (r * kGroups<TileType> + g);
        }
    }
    return found;
}

// Those that may hold a nearer negative.
template <typename S, typename TileType>
__device__ inline unsigned groups_with_nearer(
    const MineArguments<S>& in, const TileType& tile,
    const PhotoStates<Compute<S>, TileType::kColumns>& photos,
    MineMemory<Compute<S>, TileType>& memory) {
    using T = Compute<S>;
    T norms[TileType::kOwnRows], limits[TileType::kOwnRows];
#pragma unroll
    for (int r = 0; r < TileType::kOwnRows; ++r) {
        const SketchState<T>& sketch = memory.sketch(r);
        norms[r] = sketch.norm;
        limits[r] = no_better_from(sketch.negative.score(), in.rooted);
    }
    return with_unrooted(in.metric, [&](auto of) {
        return groups_with<TileType>([&](int r, int c) {
            const T other = photos.norms[TileType::column(c)];
            return !(of.from_product(tile.values[r][c], norms[r], other) >= limits[r]);
        });
    });
}

// Takes group g of row r of this thread into account. `columns` of the tile exist. The whole warp
// must call it.
template <typename S, typename TileType>
__device__ __forceinline__ void select(const MineArguments<S>& in, const TileType& tile, int r,
                                       int g, int64_t first_row, int64_t first_column, int columns,
                                       bool has_positives,
                                       const PhotoStates<Compute<S>, TileType::kColumns>& photos,
                                       MineMemory<Compute<S>, TileType>& memory) {
    using T = Compute<S>;
    SketchState<T>& sketch = memory.sketch(r);
    const int64_t i = min(first_row + TileType::row(r), in.sketch.rows - 1);
    const T closest = in.guidance == Guidance::lexicographic ? in.closest_of(i) : T(0);
    const auto own = [&](int c) { return g * kGroup + c; };

    Key<T> positive = Key<T>::none(), negative = Key<T>::none();
    T values[kGroup], h[kGroup] = {};
    tile.copy_group(r, g, values);
    const bool counted = in.guidance == Guidance::finite && in.codes.shares == nullptr;
    if (in.guidance != Guidance::none && !counted) {
        const auto existing = [&](int c) { return min(TileType::column(own(c)), columns - 1); };
        attribute_distances(in.codes, i, first_column, existing, h);
    }
#pragma unroll
    for (int c = 0; c < kGroup; ++c) {
        const int column = TileType::column(own(c));
        if (column >= columns) continue;
        const int64_t j = first_column + column;
        T d = in.distance(values[c], sketch.norm, photos.norms[column]);
        if (d - d != 0) d = in.direct_distance(i, j);
        if (has_positives && sketch.label == photos.labels[column]) {
            if (in.exclude_self && i == j) continue;
            positive = smaller(positive, Key<T>::of(-d, j));
        } else if (in.guidance == Guidance::lexicographic) {
            if (h[c] <= closest || d != d) negative = smaller(negative, Key<T>::of(d, j));
        } else {
            T score = d;
            if (counted) {
                score = guided_score(d, in.codes, i, j, in.share);
            } else if (in.guidance == Guidance::finite) {
                score = add_scaled(d, in.beta, h[c]);
            }
            negative = smaller(negative, Key<T>::of(score, j));
        }
    }

    update(sketch.negative, negative, TileType::kRowLanes);
    if (has_positives) update(sketch.positive, positive, TileType::kRowLanes);
}

// Takes all pairs of a tile into account. The whole warp must call it.
template <typename S, typename TileType>
__device__ __forceinline__ void weigh(const MineArguments<S>& in, const TileType& tile,
                                      int64_t first_row, int64_t first_column, int columns,
                                      bool has_positives,
                                      const PhotoStates<Compute<S>, TileType::kColumns>& photos,
                                      MineMemory<Compute<S>, TileType>& memory) {
    unsigned found = groups_with_nearer(in, tile, photos, memory);
    if (has_positives) {
        found |= groups_with<TileType>([&](int r, int c) {
            return memory.sketch(r).label == photos.labels[TileType::column(c)];
        });
    }
    __syncwarp();  // all lanes have read their rows' winners, which select() writes
#pragma unroll 1
    for (int at = 0; at < TileType::kOwnRows * kGroups<TileType>; ++at) {
        if (__ballot_sync(kFullMask, found >> at & 1) == 0) continue;
        select<S, TileType>(in, tile, at / kGroups<TileType>, at % kGroups<TileType>, first_row,
                            first_column, columns, has_positives, photos, memory);
    }
}

}  // namespace fgsbir::cuda
