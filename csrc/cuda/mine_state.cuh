// State of mining: arguments of its kernel, what a block keeps of its sketches and photos, and how
// pairs are scored.
#pragma once

#include "metric.cuh"
#include "mining.cuh"
#include "tile.cuh"

namespace fgsbir::cuda {

struct Labels {
    const int64_t* sketch;  // [N] or null: i
    const int64_t* photo;   // [M] or null: j

    __device__ int64_t of_sketch(int64_t i) const { return sketch == nullptr ? i : sketch[i]; }
    __device__ int64_t of_photo(int64_t j) const { return photo == nullptr ? j : photo[j]; }
};

enum class Guidance { none, finite, lexicographic };

// A root for scores, to three units in the last place. An IEEE root takes ten times as many
// instructions.
__device__ inline float root(float x) {
    return x > 0 ? x * rsqrtf(x) : x;
}
__device__ inline double root(double x) {
    return std::sqrt(x);
}

// d + beta h of counted attributes: `share` is beta / K. The count is rounded once, so that equal
// counts give equal scores, whichever attributes differ.
template <typename T>
__device__ inline T guided_score(T d, const AttributeCodes& codes, int64_t i, int64_t j, T share) {
    const uint2 *a = codes.a + i, *b = codes.b + j;
    int count = 0;
#pragma unroll 1
    for (auto words = static_cast<int>(attribute_code_words(codes.k)); words > 0; --words) {
        count += __popc(differing(*a, *b));
        a += codes.n;
        b += codes.m;
    }
    return std::fma(static_cast<T>(count), share, d);
}

template <typename S>
struct MineArguments {
    Rows<S> sketch;                  // [N, D]
    Rows<S> photo;                   // [M, D]
    const Compute<S>* sketch_norms;  // [N]
    const Compute<S>* photo_norms;   // [M]
    Labels labels;
    AttributeCodes codes;
    const unsigned long long* closest;  // [N]
    Key<Compute<S>>* positive;          // [splits, N]
    Key<Compute<S>>* negative;          // [splits, N]
    Compute<S> beta;
    Compute<S> share;  // of one of K counted attributes in the score: beta / K
    Guidance guidance;
    Metric metric;
    bool rooted;  // whether scores take the metric's root
    bool exclude_self;
    bool scans;  // whether scores are counted and finite, so that scan() can compute them
    unsigned tiles_per_split;  // of photos

    __device__ Compute<S> distance(Compute<S> product, Compute<S> norm, Compute<S> other) const {
        const auto unrooted = not_below_zero(unrooted_distance(product, norm, other, metric));
        return rooted ? root(unrooted) : unrooted;
    }
    // Where a square or a product overflowed, inf - inf is no NaN of the distance, nor is it
    // infinite.
    __device__ Compute<S> direct_distance(int64_t i, int64_t j) const {
        const auto scale = row_scale(sketch_norms, metric, i);
        const auto other = row_scale(photo_norms, metric, j);
        const auto squared =
            squared_difference(sketch.data + i * sketch.width, photo.data + j * photo.width,
                               sketch.width, scale, other);
        const auto unrooted =
            with_unrooted(metric, [=](auto of) { return of.from_square(squared, scale, other); });
        return rooted ? std::sqrt(unrooted) : unrooted;  // of infinity too, unlike root()
    }
    __device__ Compute<S> closest_of(int64_t i) const {
        return static_cast<Compute<S>>(__longlong_as_double(static_cast<long long>(closest[i])));
    }
};

// Words of attributes that are kept beside the norms, for scan(): 64 attributes.
constexpr int kCodeWords = 2;

// A word of a row's attributes, if it has them.
template <typename S>
__device__ inline uint2 code_of(const MineArguments<S>& in, const uint2* codes, int64_t rows,
                                int64_t row, int word) {
    const bool exists = in.guidance != Guidance::none && word < attribute_code_words(in.codes.k);
    return exists ? codes[word * rows + row] : uint2{};
}

// What the block keeps of a sketch, once for each team of warps that share its row: winners so far,
// which only the first of the row's lanes writes.
template <typename T>
struct SketchState {
    int64_t label;
    Key<T> positive, negative;
    uint2 codes[kCodeWords];
    T norm;
    int closest;  // lexicographic: the fewest attributes in which a negative differs
};

// And of the photos of a tile.
template <typename T, int kColumns>
struct PhotoStates {
    alignas(16) T norms[kColumns];
    alignas(16) uint2 codes[kCodeWords][kColumns];
    alignas(16) int64_t labels[kColumns];
};

template <typename T, typename TileType>
struct MineMemory {
    typename TileType::Memory tile;
    static_assert(TileType::kScannedWords <= kCodeWords);
    SketchState<T> sketches[TileType::kRowTeams][TileType::kRows];
    PhotoStates<T, TileType::kColumns> photos[2];  // of the tile under way and of the next
    int64_t lowest, highest;                       // of the sketches' labels

    __device__ SketchState<T>& sketch(int r) {
        return sketches[TileType::row_team()][TileType::row(r)];
    }
};

// winner = the smallest of it and of the keys of a row's lanes, of which the first writes it. The
// whole warp must call it.
template <typename T>
__device__ inline void update(Key<T>& winner, Key<T> key, int row_lanes) {
    key = smallest_of(key, row_lanes);
    if (threadIdx.x % row_lanes == 0) winner = smaller(winner, key);
}

}  // namespace fgsbir::cuda
