// Guided batch-hard mining: the farthest positive and the nearest negative of every sketch.
//
// One pass over tiles of the score matrix d + beta h, which is never written: an engine (engine.h)
// leaves inner products in registers, and each row keeps its smallest key (key.cuh). A block walks
// over the tiles of one split of the photos and writes one key a row; whoever reads the result
// takes the smallest over the splits. There are as many splits as it takes to fill a chip when the
// sketches alone do not.
//
// There are two ways through the pairs of a tile, with the same scores:
// - scan(): every score, in about ten instructions and without a branch. It takes the register of
//   its product, and only where the smallest of a row is better than the row's winner is it looked
//   for which column has it. For float32 arithmetic, no weights, at most 64 attributes (32 where
//   guidance is infinite), and numbers that are neither NaN nor near overflow.
// - weigh(): for all else. beta h only adds to d, so a pair whose d is no smaller than the row's
//   winner is passed over; the others have h, score and key computed.
//
// Memory traffic: every tile row reads all photos once, [M, D], and mostly from the second cache:
// N / kRows * M * D elements in all, against N * M * D steps of arithmetic. Positives cost a label
// comparison only in tiles whose photos' labels fall into the range of the sketches' labels: with
// photos sorted by label, or labels left out, those few on the diagonal.
//
// Infinite guidance is lexicographic, (h, d, index). h alone needs no products: closest_attributes
// finds the smallest h of each row first, and the pass over tiles then admits only photos at it.
//
// Limits: M < 2^32 - 1. Scores are computed in T; their order near a tie is that of the rounded
// inner products, and distances that matter are computed anew by the loss.

#include <limits>

#include "mining.cuh"
#include "tensor_engines.cuh"

namespace fgsbir::cuda {
namespace {

struct Labels {
    const int64_t* sketch;  // [N] or null: i
    const int64_t* photo;   // [M] or null: j

    __device__ int64_t of_sketch(int64_t i) const { return sketch == nullptr ? i : sketch[i]; }
    __device__ int64_t of_photo(int64_t j) const { return photo == nullptr ? j : photo[j]; }
};

enum class Guidance { none, finite, lexicographic };

// A root for scores, to two units in the last place: one of IEEE takes ten times as many
// instructions.
__device__ inline float root(float x) {
    return x > 0 ? x * rsqrtf(x) : x;
}
__device__ inline double root(double x) {
    return std::sqrt(x);
}

// d + beta h of counted attributes, word by word as in scan(): `share` is beta / K.
template <typename T>
__device__ inline T guided_score(T d, const AttributeCodes& codes, int64_t i, int64_t j, T share) {
    const uint2 *a = codes.a + i, *b = codes.b + j;
#pragma unroll 1
    for (auto words = static_cast<int>(attribute_code_words(codes.k)); words > 0; --words) {
        const int count = __popc(differing(*a, *b));
        a += codes.n;
        b += codes.m;
        d = std::fma(static_cast<T>(count), share, d);
    }
    return d;
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
    bool exclude_self;
    bool scans;  // whether scores are counted and finite, so that scan() can compute them
    unsigned tiles_per_split;  // of photos

    __device__ Compute<S> distance(Compute<S> product, Compute<S> norm, Compute<S> other) const {
        const auto unrooted = not_below_zero(unrooted_distance(product, norm, other, metric));
        return metric == Metric::euclidean ? root(unrooted) : unrooted;
    }
    // Where a square or a product overflowed, inf - inf is no NaN of the distance, nor is it
    // infinite.
    __device__ Compute<S> direct_distance(int64_t i, int64_t j) const {
        return distance_of_rows(sketch.data + i * sketch.width, photo.data + j * photo.width,
                                sketch.width, row_scale(sketch_norms, metric, i),
                                row_scale(photo_norms, metric, j), metric);
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

template <typename T, typename Square>
struct MineMemory {
    typename Square::Memory tile;
    SketchState<T> sketches[Square::kRowTeams][Square::kRows];
    PhotoStates<T, Square::kColumns> photos[2];  // of the tile under way and of the next
    int64_t lowest, highest;                     // of the sketches' labels

    __device__ SketchState<T>& sketch(int r) {
        return sketches[Square::row_team()][Square::row(r)];
    }
};

// Whether no distance to this row can overflow or be NaN, as long as the other row is such too. The
// norm is that of prepare(): a square, for cosine an inverse.
template <typename T>
__device__ inline bool is_tame(T norm, Metric metric) {
    constexpr T kLargest = T(1ull << 50);
    if (metric == Metric::cosine) return norm == 0 || (norm > 1 / kLargest && norm - norm == 0);
    return norm < kLargest * kLargest;
}

// winner = the smallest of it and of the keys of a row's lanes, of which the first writes it. The
// whole warp must call it.
template <typename T>
__device__ inline void update(Key<T>& winner, Key<T> key, int row_lanes) {
    key = smallest_of(key, row_lanes);
    if (threadIdx.x % row_lanes == 0) winner = smaller(winner, key);
}

// --- weigh() ------------------------------------------------------------------------------------

// Pairs that a thread takes into account together: kGroup of its columns of one of its rows.
template <typename Square>
constexpr int kGroup = Square::kOwnColumns < 2 ? Square::kOwnColumns : 2;
template <typename Square>
constexpr int kGroups = Square::kOwnColumns / kGroup<Square>;  // of a row

template <typename T>
constexpr T kEpsilon = std::numeric_limits<T>::epsilon();
template <typename T>
constexpr T kLeastNormal = std::numeric_limits<T>::min();

// At or above this, what unrooted_distance gives is no better than the score: its root is not, and
// beta h does not make it so. False of every distance where there is no score yet.
template <typename T>
__device__ inline T no_better_from(T score, Metric metric) {
    if (metric != Metric::euclidean) return score;
    const T square = score * score * (1 + 8 * kEpsilon<T>);
    return square + kLeastNormal<T>;
}

// The groups of this thread with a pair of which may_win(r, c) is true: bit r * kGroups + g for
// group g of row r.
template <typename Square, typename MayWin>
__device__ __forceinline__ unsigned groups_with(MayWin may_win) {
    static_assert(Square::kOwnRows * kGroups<Square> <= 32, "a bit for each");
    unsigned found = 0;
#pragma unroll
    for (int g = 0; g < kGroups<Square>; ++g) {
#pragma unroll
        for (int r = 0; r < Square::kOwnRows; ++r) {
            bool any = false;
#pragma unroll
            for (int c = 0; c < kGroup<Square>; ++c) any |= may_win(r, g * kGroup<Square> + c);
            if (any) found |= 1u << (r * kGroups<Square> + g);
        }
    }
    return found;
}

// Those that may hold a nearer negative.
template <typename S, typename Square>
__device__ inline unsigned groups_with_nearer(
    const MineArguments<S>& in, const Square& tile,
    const PhotoStates<Compute<S>, Square::kColumns>& photos,
    MineMemory<Compute<S>, Square>& memory) {
    using T = Compute<S>;
    T norms[Square::kOwnRows], limits[Square::kOwnRows];
#pragma unroll
    for (int r = 0; r < Square::kOwnRows; ++r) {
        const SketchState<T>& sketch = memory.sketch(r);
        norms[r] = sketch.norm;
        limits[r] = no_better_from(sketch.negative.score(), in.metric);
    }
    const auto with_metric = [&](Metric metric) {
        return groups_with<Square>([&](int r, int c) {
            const T other = photos.norms[Square::column(c)];
            return !(unrooted_distance(tile.values[r][c], norms[r], other, metric) >= limits[r]);
        });
    };
    return in.metric == Metric::cosine ? with_metric(Metric::cosine)
                                       : with_metric(Metric::sqeuclidean);
}

// Takes group g of row r of this thread into account. `columns` of the tile exist. The whole warp
// must call it.
template <typename S, typename Square>
__device__ __forceinline__ void select(const MineArguments<S>& in, const Square& tile, int r, int g,
                                       int64_t first_row, int64_t first_column, int columns,
                                       bool has_positives,
                                       const PhotoStates<Compute<S>, Square::kColumns>& photos,
                                       MineMemory<Compute<S>, Square>& memory) {
    using T = Compute<S>;
    SketchState<T>& sketch = memory.sketch(r);
    const int64_t i = min(first_row + Square::row(r), in.sketch.rows - 1);
    const T closest = in.guidance == Guidance::lexicographic ? in.closest_of(i) : T(0);
    const auto own = [&](int c) { return g * kGroup<Square> + c; };

    Key<T> positive = Key<T>::none(), negative = Key<T>::none();
    T values[kGroup<Square>], h[kGroup<Square>] = {};
    tile.copy_group(r, g, values);
    const bool counted = in.guidance == Guidance::finite && in.codes.shares == nullptr;
    if (in.guidance != Guidance::none && !counted) {
        const auto existing = [&](int c) { return min(Square::column(own(c)), columns - 1); };
        attribute_distances(in.codes, i, first_column, existing, h);
    }
#pragma unroll
    for (int c = 0; c < kGroup<Square>; ++c) {
        const int column = Square::column(own(c));
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

    update(sketch.negative, negative, Square::kRowLanes);
    if (has_positives) update(sketch.positive, positive, Square::kRowLanes);
}

// Takes all pairs of a tile into account. The whole warp must call it.
template <typename S, typename Square>
__device__ __forceinline__ void weigh(const MineArguments<S>& in, const Square& tile,
                                      int64_t first_row, int64_t first_column, int columns,
                                      bool has_positives,
                                      const PhotoStates<Compute<S>, Square::kColumns>& photos,
                                      MineMemory<Compute<S>, Square>& memory) {
    unsigned found = groups_with_nearer(in, tile, photos, memory);
    if (has_positives) {
        found |= groups_with<Square>([&](int r, int c) {
            return memory.sketch(r).label == photos.labels[Square::column(c)];
        });
    }
#pragma unroll 1
    for (int at = 0; at < Square::kOwnRows * kGroups<Square>; ++at) {
        if (__ballot_sync(kFullMask, found >> at & 1) == 0) continue;
        select<S, Square>(in, tile, at / kGroups<Square>, at % kGroups<Square>, first_row,
                          first_column, columns, has_positives, photos, memory);
    }
}

// --- scan() -------------------------------------------------------------------------------------

// Scores are not negative, so that as unsigned integers their bits are in their order. Infinity, in
// place of what is no negative, never wins.
constexpr unsigned kInfinityBits = 0x7f800000u;

// Only smaller bits can win against this winner; against a NaN none.
__device__ inline unsigned limit_of(const Key<float>& winner) {
    constexpr unsigned kSign = 0x80000000u;
    const auto ordered = static_cast<unsigned>(winner.bits >> 32);
    return ordered < kSign ? 0 : min(ordered ^ kSign, kInfinityBits);
}

// Photo data of neighbouring columns, in one load.
template <int kCount, typename V>
struct alignas(kCount * sizeof(V) < 16 ? kCount * sizeof(V) : 16) Neighbours {
    V at[kCount];
    __device__ static const Neighbours& of(const V* first) {
        return *reinterpret_cast<const Neighbours*>(first);
    }
};

// Calls f(value, r, photos...) for each of the thread's pairs, with what arrays in shared memory
// have of its photo.
template <typename Square, typename F, typename... V>
__device__ __forceinline__ void for_each_pair(Square& tile, F f, const V*... of_photos) {
    constexpr int kVector = Square::kColumnVector;
#pragma unroll
    for (int v = 0; v < Square::kOwnColumns; v += kVector) {
        const int column = Square::column(v);
        [&](const auto&... photos) {
#pragma unroll
            for (int c = 0; c < kVector; ++c) {
#pragma unroll
                for (int r = 0; r < Square::kOwnRows; ++r) {
                    f(tile.values[r][v + c], r, photos.at[c]...);
                }
            }
        }(Neighbours<kVector, V>::of(of_photos + column)...);
    }
}

// Puts its score in place of every product of this thread. kMetric is cosine or another.
template <Metric kMetric, typename S, typename Square>
__device__ __forceinline__ void score(const MineArguments<S>& in, Square& tile,
                                      const PhotoStates<float, Square::kColumns>& photos,
                                      MineMemory<float, Square>& memory) {
    constexpr int kRows = Square::kOwnRows;
    float norms[kRows];
#pragma unroll
    for (int r = 0; r < kRows; ++r) norms[r] = memory.sketch(r).norm;
    const auto put_distance = [&](float& value, int r, float norm) {
        const float unrooted = unrooted_distance(value, norms[r], norm, kMetric);
        value = __int_as_float(max(__float_as_int(unrooted), 0));  // -0 is no score
    };
    for_each_pair(tile, put_distance, photos.norms);
    if (in.guidance == Guidance::none) return;

    if (in.metric == Metric::euclidean) {
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
#pragma unroll
            for (float& value : tile.values[r]) value = root(value);
        }
    }
    uint2 codes[kRows];
    const auto load_codes = [&](int word) {
#pragma unroll
        for (int r = 0; r < kRows; ++r) codes[r] = memory.sketch(r).codes[word];
    };
    if (in.guidance == Guidance::lexicographic) {
        load_codes(0);
        int closest[kRows];
#pragma unroll
        for (int r = 0; r < kRows; ++r) closest[r] = memory.sketch(r).closest;
        const auto put = [&](float& value, int r, uint2 code) {
            if (__popc(differing(codes[r], code)) > closest[r]) {
                value = __uint_as_float(kInfinityBits);
            }
        };
        for_each_pair(tile, put, photos.codes[0]);
    } else {
        const auto words = static_cast<int>(attribute_code_words(in.codes.k));
#pragma unroll 1
        for (int word = 0; word < words; ++word) {
            load_codes(word);
            const auto put = [&](float& value, int r, uint2 code) {
                // A count is taken for the bits of a number, which is 2^149 times too small: what
                // converts it is a multiplication. Conversions are four times slower than those.
                const float count = __int_as_float(__popc(differing(codes[r], code))) * 0x1p126f;
                value = std::fma(count, in.share * 0x1p23f, value);
            };
            for_each_pair(tile, put, photos.codes[word]);
        }
    }
}

// Calls f(r, c, whether the labels are equal) for each of the thread's pairs, of which those in
// missing columns are not equal.
template <typename Square, typename F>
__device__ __forceinline__ void for_each_label(const PhotoStates<float, Square::kColumns>& photos,
                                               MineMemory<float, Square>& memory, int columns,
                                               F f) {
#pragma unroll
    for (int c = 0; c < Square::kOwnColumns; ++c) {
        const int column = Square::column(c);
        const int64_t label = photos.labels[column];
#pragma unroll
        for (int r = 0; r < Square::kOwnRows; ++r) {
            f(r, c, column < columns && memory.sketch(r).label == label);
        }
    }
}

// Takes the positives of a tile into account, which are few. The whole warp must call it.
template <typename S, typename Square>
__device__ __forceinline__ void scan_positives(const MineArguments<S>& in, const Square& tile,
                                               int64_t first_row, int64_t first_column, int columns,
                                               const PhotoStates<float, Square::kColumns>& photos,
                                               MineMemory<float, Square>& memory) {
    static_assert(Square::kOwnColumns <= 32, "a bit for each");
    unsigned positive[Square::kOwnRows] = {};
    for_each_label(photos, memory, columns, [&](int r, int c, bool equal) {
        if (equal) positive[r] |= 1u << c;
    });
#pragma unroll
    for (int r = 0; r < Square::kOwnRows; ++r) {
        SketchState<float>& sketch = memory.sketch(r);
        for (unsigned found = warp_or(positive[r]); found != 0; found &= found - 1) {
            const int at = __ffs(static_cast<int>(found)) - 1;
            float product = 0;
#pragma unroll
            for (int c = 0; c < Square::kOwnColumns; ++c) {
                if (c == at) product = tile.values[r][c];
            }
            const int column = Square::column(at);
            const int64_t i = first_row + Square::row(r), j = first_column + column;
            const float d = in.distance(product, sketch.norm, photos.norms[column]);
            const bool counts = (positive[r] >> at & 1) != 0 && !(in.exclude_self && i == j);
            const Key<float> key = counts ? Key<float>::of(-d, j) : Key<float>::none();
            update(sketch.positive, key, Square::kRowLanes);
        }
    }
}

// Takes all pairs of a tile into account. The whole warp must call it.
template <Metric kMetric, typename S, typename Square>
__device__ __forceinline__ void scan(const MineArguments<S>& in, Square& tile, int64_t first_row,
                                     int64_t first_column, int columns, bool has_positives,
                                     const PhotoStates<float, Square::kColumns>& photos,
                                     MineMemory<float, Square>& memory) {
    if (has_positives) {
        scan_positives(in, tile, first_row, first_column, columns, photos, memory);
    }
    score<kMetric>(in, tile, photos, memory);
    if (has_positives || columns < Square::kColumns) {
        for_each_label(photos, memory, columns, [&](int r, int c, bool equal) {
            const bool negative = !equal && Square::column(c) < columns;
            if (!negative) tile.values[r][c] = __uint_as_float(kInfinityBits);
        });
    }
#pragma unroll
    for (int r = 0; r < Square::kOwnRows; ++r) {
        unsigned least = kInfinityBits;
#pragma unroll
        for (int c = 0; c < Square::kOwnColumns; ++c) {
            least = min(least, __float_as_uint(tile.values[r][c]));
        }
        Key<float>& winner = memory.sketch(r).negative;
        const bool better = least < limit_of(winner);
        if (__ballot_sync(kFullMask, better) == 0) continue;
        int first = 0;
#pragma unroll
        for (int c = Square::kOwnColumns - 1; c >= 0; --c) {
            if (__float_as_uint(tile.values[r][c]) == least) first = c;
        }
        const int64_t j = first_column + Square::column(first);
        const Key<float> key = Key<float>::of(__uint_as_float(least), j);
        update(winner, better ? key : Key<float>::none(), Square::kRowLanes);
    }
}

// --- Tiles --------------------------------------------------------------------------------------

// The block's sketches, with no winners yet.
template <typename S, typename Square>
__device__ void start(const MineArguments<S>& in, int64_t first_row,
                      MineMemory<Compute<S>, Square>& memory) {
    using T = Compute<S>;
    for (int row = threadIdx.x; row < Square::kRows; row += kTileThreads) {
        const int64_t i = min(first_row + row, in.sketch.rows - 1);
        SketchState<T> sketch = {
            in.labels.of_sketch(i), Key<T>::none(), Key<T>::none(), {}, in.sketch_norms[i], 0};
        for (int word = 0; word < kCodeWords; ++word) {
            sketch.codes[word] = code_of(in, in.codes.a, in.codes.n, i, word);
        }
        if (in.guidance == Guidance::lexicographic) {
            sketch.closest = __double2int_rn(static_cast<double>(in.closest_of(i)) *
                                             static_cast<double>(in.codes.k));
        }
#pragma unroll
        for (int team = 0; team < Square::kRowTeams; ++team) memory.sketches[team][row] = sketch;
    }
    __syncthreads();
    if (threadIdx.x < kWarp) {
        const SketchState<T>* sketches = memory.sketches[0];
        int64_t lowest = sketches[threadIdx.x].label, highest = lowest;
        for (int row = threadIdx.x + kWarp; row < Square::kRows; row += kWarp) {
            lowest = min(lowest, sketches[row].label);
            highest = max(highest, sketches[row].label);
        }
        for (int offset = kWarp / 2; offset > 0; offset /= 2) {
            lowest = min(lowest, __shfl_xor_sync(kFullMask, lowest, offset));
            highest = max(highest, __shfl_xor_sync(kFullMask, highest, offset));
        }
        if (threadIdx.x == 0) {
            memory.lowest = lowest;
            memory.highest = highest;
        }
    }
    __syncthreads();
}

// Rows of a tile and columns of one split, which are whole tiles but for the end of the photos.
template <bool kScans, typename S, typename Square>
__device__ __forceinline__ void mine_split(const MineArguments<S>& in,
                                           MineMemory<Compute<S>, Square>& memory,
                                           int64_t first_row, int64_t begin, int64_t end) {
    using T = Compute<S>;
    constexpr int kRows = Square::kRows, kColumns = Square::kColumns;
    static_assert(kColumns <= kTileThreads && kRows <= kTileThreads);
    start<S, Square>(in, first_row, memory);

    Square tile;
    // Loads what is kept of the thread's photo of a tile, and returns what puts it there: scan()
    // has the product in between, which hides how long loads take, weigh() no registers for that.
    const auto load_photo = [&](int64_t first_column) {
        const int64_t j = first_column + threadIdx.x;
        const bool exists = threadIdx.x < kColumns && j < in.photo.rows;
        const int64_t label = exists ? in.labels.of_photo(j) : 0;
        const T norm = exists ? in.photo_norms[j] : T(0);
        const uint2 code = exists ? code_of(in, in.codes.b, in.codes.m, j, 0) : uint2{};
        const uint2 more = exists ? code_of(in, in.codes.b, in.codes.m, j, 1) : uint2{};
        // Returns whether its label is in the range of those of the sketches.
        return [=, &memory](int at) {
            if (threadIdx.x < kColumns) {
                memory.photos[at].labels[threadIdx.x] = label;
                memory.photos[at].norms[threadIdx.x] = norm;
                memory.photos[at].codes[0][threadIdx.x] = code;
                memory.photos[at].codes[1][threadIdx.x] = more;
            }
            return exists && label >= memory.lowest && label <= memory.highest;
        };
    };
    int at = 0;
    bool in_range = load_photo(begin)(at);
    for (int64_t first_column = begin; first_column < end; first_column += kColumns) {
        const int64_t next_column =
            first_column + kColumns < end ? first_column + kColumns : kNoTile;
        // After this barrier no warp is at the last tile any more.
        const bool has_positives = __syncthreads_or(in_range);
        const auto multiply = [&] {
            tile.zero();
            tile.accumulate(memory.tile, in.sketch, first_row, in.photo, first_column,
                            in.sketch.width, Product(), kScans ? next_column : kNoTile);
        };
        const int64_t coming = next_column == kNoTile ? begin : next_column;
        if constexpr (kScans) {
            const auto put_photo = load_photo(coming);
            multiply();
            in_range = put_photo(1 - at);
        } else {
            multiply();
            in_range = load_photo(coming)(1 - at);
        }
        const int columns =
            static_cast<int>(min(in.photo.rows - first_column, static_cast<int64_t>(kColumns)));
        const auto& photos = memory.photos[at];
        if constexpr (kScans) {
            const auto scan_by = [&](auto metric) {
                scan<decltype(metric)::value>(in, tile, first_row, first_column, columns,
                                              has_positives, photos, memory);
            };
            if (in.metric == Metric::cosine) {
                scan_by(Constant<Metric::cosine>());
            } else {
                scan_by(Constant<Metric::sqeuclidean>());
            }
        } else {
            weigh(in, tile, first_row, first_column, columns, has_positives, photos, memory);
        }
        at = 1 - at;
    }

    __syncthreads();
    const int64_t i = first_row + threadIdx.x;
    if (threadIdx.x >= kRows || i >= in.sketch.rows) return;
    Key<T> positive = Key<T>::none(), negative = Key<T>::none();
#pragma unroll
    for (int team = 0; team < Square::kRowTeams; ++team) {
        positive = smaller(positive, memory.sketches[team][threadIdx.x].positive);
        negative = smaller(negative, memory.sketches[team][threadIdx.x].negative);
    }
    in.positive[blockIdx.y * in.sketch.rows + i] = positive;
    in.negative[blockIdx.y * in.sketch.rows + i] = negative;
}

// Whether all of the rows are tame. The whole block must call it.
template <typename S>
__device__ bool are_tame(const MineArguments<S>& in, int64_t first_row, int64_t end_row,
                         int64_t begin, int64_t end) {
    bool untamed = false;
    const auto look = [&](const Compute<S>* norms, int64_t first, int64_t last) {
        for (int64_t row = first + threadIdx.x; row < last; row += kTileThreads) {
            untamed |= !is_tame(norms[row], in.metric);
        }
    };
    look(in.sketch_norms, first_row, end_row);
    look(in.photo_norms, begin, end);
    return !__syncthreads_or(untamed);
}

// The tile that weigh() is done in where scan() is done in Square: what a kernel has of registers
// is not enough for both in large tiles.
template <typename Square>
struct WeighIn {
    using Type = Square;
};
template <typename T>
struct WeighIn<Tile<T, 128, 64>> {
    using Type = Tile<T, 32, 32>;
};
template <typename S, int kColumns>
struct WeighIn<TensorTile<S, 128, kColumns>> {
    using Type = Tile<float, 32, 32>;
};
template <typename S>
struct WeighIn<WarpgroupTile<S>> {
    using Type = Tile<float, 32, 32>;
};

template <typename T, typename Square>
union MineMemories {
    MineMemory<T, Square> of_scan;
    MineMemory<T, typename WeighIn<Square>::Type> of_weigh;
};

constexpr int kBlocksAtOnce = 2;  // on a multiprocessor

// Chips with less shared memory have it for one block of large tiles only, which may then have more
// registers.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ != 750 && __CUDA_ARCH__ != 800 && \
    (__CUDA_ARCH__ < 900 || __CUDA_ARCH__ >= 1200)
constexpr size_t kSharedOfChip = 100 * 1024;
#else
constexpr size_t kSharedOfChip = kSharedOfHopper;
#endif
template <typename T, typename Square>
constexpr int kMostBlocks = 2 * sizeof(MineMemories<T, Square>) > kSharedOfChip ? 1 : kBlocksAtOnce;

template <typename S, typename Square>
__global__ void __launch_bounds__(kTileThreads, kMostBlocks<Compute<S>, Square>)
    mine_tiles(const MineArguments<S> in) {
    if constexpr (Square::kAvailable) {
        using T = Compute<S>;
        using Small = typename WeighIn<Square>::Type;
        auto& memory = shared_memory<MineMemories<T, Square>>();
        const int64_t first_row = static_cast<int64_t>(blockIdx.x) * Square::kRows;
        const int64_t end_row = min(first_row + Square::kRows, in.sketch.rows);
        const int64_t columns = static_cast<int64_t>(in.tiles_per_split) * Square::kColumns;
        const int64_t begin = blockIdx.y * columns, end = min(begin + columns, in.photo.rows);
        if (!in.scans || !are_tame(in, first_row, end_row, begin, end)) {
            for (int64_t row = first_row; row < end_row; row += Small::kRows) {
                mine_split<false, S, Small>(in, memory.of_weigh, row, begin, end);
            }
            return;
        }
        if constexpr (std::is_same_v<T, float>) {
            mine_split<true, S, Square>(in, memory.of_scan, first_row, begin, end);
        }
    }
}

// --- Infinite guidance --------------------------------------------------------------------------

constexpr int kClosestThreads = 256;
constexpr int kClosestColumns = 16;
constexpr int kClosestRows = 32;

// The smallest h of any negative of each row, as the bits of a float64 that is not negative.
template <typename T>
__global__ void __launch_bounds__(kClosestThreads)
    closest_attributes(const AttributeCodes codes, const Labels labels,
                       unsigned long long* closest /* [N] */, unsigned column_blocks) {
    const int64_t first_row = int64_t(blockIdx.x / column_blocks) * kClosestRows;
    constexpr int64_t kSpan = kClosestColumns * kClosestThreads;
    const int64_t first_column = blockIdx.x % column_blocks * kSpan;
    const int columns = static_cast<int>(min(codes.m - first_column, kSpan));
    const auto column = [&](int c) {
        return min(static_cast<int>(threadIdx.x) + c * kClosestThreads, columns - 1);
    };
    int64_t column_labels[kClosestColumns];
    uint2 column_codes[kClosestColumns] = {};
    // Without weights, and of one word, a count is all there is.
    const bool counted = codes.shares == nullptr && attribute_code_words(codes.k) == 1;
#pragma unroll
    for (int c = 0; c < kClosestColumns; ++c) {
        // A clamped column is one that another thread has too.
        column_labels[c] = labels.of_photo(first_column + column(c));
        if (counted) column_codes[c] = codes.b[first_column + column(c)];
    }
    for (int64_t i = first_row; i < first_row + kClosestRows && i < codes.n; ++i) {
        const int64_t label = labels.of_sketch(i);
        Key<double> smallest = Key<double>::none();
        const auto put = [&](T h) {
            smallest.ordered =
                static_cast<unsigned long long>(__double_as_longlong(static_cast<double>(h)));
        };
        if (counted) {
            constexpr int kNone = 33;
            const uint2 code = codes.a[i];
            int fewest = kNone;
#pragma unroll
            for (int c = 0; c < kClosestColumns; ++c) {
                const int count = __popc(differing(code, column_codes[c]));
                if (column_labels[c] != label) fewest = min(fewest, count);
            }
            for (int offset = kWarp / 2; offset > 0; offset /= 2) {
                fewest = min(fewest, __shfl_xor_sync(kFullMask, fewest, offset));
            }
            if (fewest != kNone) put(static_cast<T>(fewest) / static_cast<T>(codes.k));
        } else {
            T h[kClosestColumns], least = T(INFINITY);
            attribute_distances(codes, i, first_column, column, h);
#pragma unroll
            for (int c = 0; c < kClosestColumns; ++c) {
                if (column_labels[c] != label) least = min(least, h[c]);
            }
            if (least != T(INFINITY)) put(least);
            smallest = smallest_of(smallest, kWarp);
        }
        if (threadIdx.x % kWarp == 0 && smallest.ordered != Key<double>::none().ordered) {
            atomicMin(closest + i, smallest.ordered);
        }
    }
}

// --- The result, where mining is all that is wanted
// -----------------------------------------------

constexpr int kFinishWarps = 8;

template <typename T>
__global__ void __launch_bounds__(kFinishWarps* kWarp)
    write_triplets(const Key<T>* positive_keys /* [splits, N] */,
                   const Key<T>* negative_keys /* [splits, N] */, int64_t splits, int64_t n,
                   int64_t* positive /* [N] */, int64_t* negative /* [N] */) {
    const int64_t i = static_cast<int64_t>(blockIdx.x) * kFinishWarps + threadIdx.x / kWarp;
    if (i >= n) return;
    const Triplet triplet = chosen_triplet(positive_keys, negative_keys, splits, n, i);
    if (threadIdx.x % kWarp != 0) return;
    positive[i] = triplet.positive;
    negative[i] = triplet.negative;
}

template <typename S, typename Square>
void launch_tiles(const MineArguments<S>& arguments, const MiningPlan& plan, cudaStream_t stream) {
    static DeviceSet allowed;
    constexpr size_t kShared = sizeof(MineMemories<Compute<S>, Square>);
    static_assert(kShared <= Square::kMostShared);
    const auto kernel = mine_tiles<S, Square>;
    allow_shared(kernel, kShared, allowed);
    const dim3 grid(grid_of(plan.row_tiles), static_cast<unsigned>(plan.splits));
    FGSBIR_CHECK_CUDA(launch(kernel, grid, kTileThreads, kShared, stream, arguments));
}

// The tiles of a plan.
template <typename S>
void launch_plan(const MineArguments<S>& arguments, const MiningPlan& plan, cudaStream_t stream) {
    using T = Compute<S>;
    if constexpr (std::is_same_v<T, float>) {
        if (plan.engine != Engine::cuda_cores) {
            const bool large = plan.rows == kLargeRows;
            return with_tensor_tile<S>(plan.engine, large, [&](auto kind) {
                launch_tiles<S, typename decltype(kind)::Square>(arguments, plan, stream);
            });
        }
        if (plan.rows == 128) return launch_tiles<S, Tile<T, 128, 64>>(arguments, plan, stream);
    }
    if (plan.rows == 64) return launch_tiles<S, Tile<T, 64, 64>>(arguments, plan, stream);
    launch_tiles<S, Tile<T, 32, 32>>(arguments, plan, stream);
}

// --- Plan ---------------------------------------------------------------------------------------

// Whether scores are such that scan() can compute them, as long as the embeddings are tame.
bool can_scan(const Mining& mining) {
    if (mining.type == ScalarType::float64) return false;
    if (mining.guidance == 0 || mining.attributes.a.data == nullptr) return true;
    // Below this nothing that is added to a distance is near overflow.
    constexpr double kTameGuidance = 0x1p100;
    const bool infinite = std::isinf(mining.guidance);
    return (infinite || mining.guidance < kTameGuidance) &&
           mining.attributes.weights.data == nullptr &&
           attribute_code_words(mining.attributes.k) <= (infinite ? 1 : kCodeWords);
}

}  // namespace

// Large tiles are for scan() alone.
MiningPlan::MiningPlan(const Mining& mining, Engine engine_) : engine(engine_) {
    constexpr int64_t kEnoughTiles = 256;
    const auto enough = [&](int64_t rows, int64_t columns) {
        return ceil_div(mining.n, rows) * ceil_div(mining.m, columns) >= kEnoughTiles;
    };
    if (engine != Engine::cuda_cores) {
        const int wide = large_columns(mining.type);
        const bool large = can_scan(mining) && enough(kLargeRows, wide);
        rows = large ? kLargeRows : 64;
        columns = large ? wide : 64;
    } else {
        const bool large = can_scan(mining) && enough(128, 64);
        rows = large ? 128 : enough(64, 64) ? 64 : 32;
        columns = std::min(rows, 64);
    }
    row_tiles = ceil_div(mining.n, rows);
    column_tiles = ceil_div(mining.m, columns);
    // Enough blocks to fill the largest chips a few times over.
    constexpr int64_t kMostBlocks = 1024, kMaxGridY = 65535;
    const int64_t wanted = ceil_div(kMostBlocks, std::max<int64_t>(row_tiles, 1));
    most_splits = std::max<int64_t>(1, std::min({wanted, column_tiles, kMaxGridY}));
    tiles_per_split = std::max<int64_t>(1, ceil_div(column_tiles, most_splits));
    splits = std::max<int64_t>(1, ceil_div(column_tiles, tiles_per_split));
}

void MiningPlan::fit(int64_t blocks_at_once) {
    // What a block does once, beginning without winners too, takes about as long as a tile.
    constexpr int64_t kStart = 1;
    int64_t least = std::numeric_limits<int64_t>::max();
    for (int64_t wanted = 1; wanted <= most_splits; ++wanted) {
        const int64_t tiles = std::max<int64_t>(1, ceil_div(column_tiles, wanted));
        const int64_t parts = std::max<int64_t>(1, ceil_div(column_tiles, tiles));
        const int64_t rounds = ceil_div(row_tiles * parts, blocks_at_once);
        if (rounds * (tiles + kStart) >= least) continue;
        least = rounds * (tiles + kStart);
        tiles_per_split = tiles;
        splits = parts;
    }
}

int64_t most_splits(const Mining& mining) {
    return std::max(MiningPlan(mining, Engine::cuda_cores).most_splits,
                    MiningPlan(mining, Engine::tensor_cores).most_splits);
}

MiningPlan plan_for_this_device(const Mining& mining) {
    MiningPlan plan(mining, engine_for(mining.type));
    plan.fit(kBlocksAtOnce * multiprocessors());
    return plan;
}

template <typename S>
void mine(const Mining& mining, const MiningPlan& plan, const MiningScratch<Compute<S>>& scratch,
          cudaStream_t stream) {
    using T = Compute<S>;
    if (mining.m >= 0xffffffffll) throw std::runtime_error("mining takes at most 2^32 - 2 photos");

    Preparation preparation = {};
    preparation.type = mining.type;
    preparation.d = mining.d;
    preparation.inverse_norms = mining.metric == Metric::cosine;
    preparation.a = {mining.n, mining.sketch, scratch.sketch_norms, mining.attributes.a,
                     scratch.sketch_codes};
    preparation.b = {mining.m, mining.photo, scratch.photo_norms, mining.attributes.b,
                     scratch.photo_codes};
    preparation.k = mining.attributes.k;
    preparation.weights = mining.attributes.weights;
    preparation.shares = scratch.shares;
    preparation.closest = scratch.closest;
    prepare(preparation, stream);

    const Labels labels = {mining.sketch_labels, mining.photo_labels};
    Guidance guidance = scratch.guided() ? Guidance::finite : Guidance::none;
    if (scratch.guided() && std::isinf(mining.guidance)) {
        guidance = Guidance::lexicographic;
        const unsigned blocks = grid_of(ceil_div(mining.m, kClosestColumns * kClosestThreads));
        FGSBIR_CHECK_CUDA(
            launch(closest_attributes<T>, grid_of(blocks * ceil_div(mining.n, kClosestRows)),
                   kClosestThreads, 0, stream, scratch.codes, labels, scratch.closest, blocks));
    }

    // The order of squares is that of their roots, which are wanted only where something is added.
    Metric metric = mining.metric;
    if (metric == Metric::euclidean && guidance != Guidance::finite) metric = Metric::sqeuclidean;
    const auto share = static_cast<T>(
        mining.guidance / static_cast<double>(std::max<int64_t>(1, mining.attributes.k)));
    const MineArguments<S> arguments = {{static_cast<const S*>(mining.sketch), mining.n, mining.d},
                                        {static_cast<const S*>(mining.photo), mining.m, mining.d},
                                        scratch.sketch_norms,
                                        scratch.photo_norms,
                                        labels,
                                        scratch.codes,
                                        scratch.closest,
                                        scratch.positive,
                                        scratch.negative,
                                        static_cast<T>(mining.guidance),
                                        share,
                                        guidance,
                                        metric,
                                        mining.exclude_self,
                                        can_scan(mining),
                                        grid_of(plan.tiles_per_split)};
    launch_plan(arguments, plan, stream);
}

template void mine<float>(const Mining&, const MiningPlan&, const MiningScratch<float>&,
                          cudaStream_t);
template void mine<double>(const Mining&, const MiningPlan&, const MiningScratch<double>&,
                           cudaStream_t);
template void mine<__half>(const Mining&, const MiningPlan&, const MiningScratch<float>&,
                           cudaStream_t);
template void mine<__nv_bfloat16>(const Mining&, const MiningPlan&, const MiningScratch<float>&,
                                  cudaStream_t);

int64_t mine_batch_hard_workspace(const Mining& mining) {
    return workspace_size(mining.type, [&](auto s, Workspace& workspace) {
        MiningScratch<Compute<decltype(s)>>(workspace, mining);
    });
}

void mine_batch_hard(const Mining& mining, int64_t* positive, int64_t* negative, void* memory,
                     Stream stream) {
    with_type(mining.type, [&](auto type) {
        using S = decltype(type);
        using T = Compute<S>;
        const MiningPlan plan = plan_for_this_device(mining);
        Workspace workspace(memory);
        const MiningScratch<T> scratch(workspace, mining);
        mine<S>(mining, plan, scratch, stream);
        FGSBIR_CHECK_CUDA(launch(write_triplets<T>, grid_of(ceil_div(mining.n, kFinishWarps)),
                                 kFinishWarps * kWarp, 0, stream, scratch.positive,
                                 scratch.negative, plan.splits, mining.n, positive, negative));
    });
}

}  // namespace fgsbir::cuda
