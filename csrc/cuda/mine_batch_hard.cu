// Guided batch-hard mining: the farthest positive and the nearest negative of every sketch.
//
// One pass over tiles of the score matrix d + beta h, which is never written: an engine (engine.h)
// leaves inner products in registers, and each row keeps its smallest key (key.cuh). A block walks
// over the tiles of one split of the photos and writes one key a row; whoever reads the result
// takes the smallest over the splits. There are as many splits as it takes to fill a chip when the
// sketches alone do not.
//
// beta h only adds to d. So a pair whose d is no smaller than the best score of the row's earlier
// tiles is done with in three or four instructions, and soon almost all are; the few others, and
// those with equal labels, have their h, score and key computed.
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
    Guidance guidance;
    Metric metric;
    bool exclude_self;
    unsigned column_tiles, tiles_per_split;  // of photos

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

// What the block keeps of a sketch, once for each team of warps that share its row: winners so far,
// which only the first of the row's lanes writes.
template <typename T>
struct SketchState {
    int64_t label;
    Key<T> positive, negative;
    T norm;
};

// And of a photo of the tile under way.
template <typename T>
struct PhotoState {
    int64_t label;
    T norm;
};

template <typename T, typename Square>
struct MineMemory {
    typename Square::Memory tile;
    SketchState<T> sketches[Square::kRowTeams][Square::kRows];
    PhotoState<T> photos[Square::kColumns];
    int64_t lowest, highest;  // of the sketches' labels

    __device__ SketchState<T>& sketch(int r) {
        return sketches[Square::row_team()][Square::row(r)];
    }
    __device__ const PhotoState<T>& photo(int c) const { return photos[Square::column(c)]; }
};

// Pairs that a thread takes into account together: kGroup of its columns of one of its rows.
template <typename Square>
constexpr int kGroup = Square::kOwnColumns < 4 ? Square::kOwnColumns : 4;
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
    const T square = score * score * (1 + 4 * kEpsilon<T>);
    return square + kLeastNormal<T>;
}

// The groups of this thread with a pair that may win its row: bit r * kGroups + g for group g of
// row r.
template <typename S, typename Square>
__device__ inline unsigned candidates(const MineArguments<S>& in, const Square& tile,
                                      bool has_positives, MineMemory<Compute<S>, Square>& memory) {
    using T = Compute<S>;
    static_assert(Square::kOwnRows * kGroups<Square> <= 32, "a bit for each");
    unsigned found = 0;
    const auto mark = [&](auto may_win) {
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
    };
    T norms[Square::kOwnRows], limits[Square::kOwnRows];
#pragma unroll
    for (int r = 0; r < Square::kOwnRows; ++r) {
        const SketchState<T>& sketch = memory.sketch(r);
        norms[r] = sketch.norm;
        limits[r] = no_better_from(sketch.negative.score(), in.metric);
    }
    const auto mark_near = [&](Metric metric) {
        mark([&](int r, int c) {
            const T other = memory.photo(c).norm;
            return !(unrooted_distance(tile.values[r][c], norms[r], other, metric) >= limits[r]);
        });
    };
    if (in.metric == Metric::cosine) {
        mark_near(Metric::cosine);
    } else {
        mark_near(Metric::sqeuclidean);
    }
    if (!has_positives) return found;
    mark([&](int r, int c) { return memory.sketch(r).label == memory.photo(c).label; });
    return found;
}

// Takes group g of row r of this thread into account. `columns` of the tile exist. The whole warp
// must call it.
template <typename S, typename Square>
__device__ __forceinline__ void select(const MineArguments<S>& in, const Square& tile, int r, int g,
                                       int64_t first_row, int64_t first_column, int columns,
                                       bool has_positives, MineMemory<Compute<S>, Square>& memory) {
    using T = Compute<S>;
    SketchState<T>& sketch = memory.sketch(r);
    const int64_t i = min(first_row + Square::row(r), in.sketch.rows - 1);
    const T closest = in.guidance == Guidance::lexicographic ? in.closest_of(i) : T(0);
    const auto own = [&](int c) { return g * kGroup<Square> + c; };

    Key<T> positive = Key<T>::none(), negative = Key<T>::none();
    T values[kGroup<Square>], h[kGroup<Square>] = {};
    tile.copy_group(r, g, values);
    if (in.guidance != Guidance::none) {
        const auto existing = [&](int c) { return min(Square::column(own(c)), columns - 1); };
        attribute_distances(in.codes, i, first_column, existing, h);
    }
#pragma unroll
    for (int c = 0; c < kGroup<Square>; ++c) {
        const int column = Square::column(own(c));
        if (column >= columns) continue;
        const int64_t j = first_column + column;
        const PhotoState<T>& photo = memory.photo(own(c));
        T d = distance_from_product(values[c], sketch.norm, photo.norm, in.metric);
        if (d - d != 0) d = in.direct_distance(i, j);
        if (has_positives && sketch.label == photo.label) {
            if (in.exclude_self && i == j) continue;
            positive = smaller(positive, Key<T>::of(-d, j));
        } else if (in.guidance == Guidance::lexicographic) {
            if (h[c] <= closest || d != d) negative = smaller(negative, Key<T>::of(d, j));
        } else {
            const bool guided = in.guidance == Guidance::finite;
            const T score = guided ? add_scaled(d, in.beta, h[c]) : d;
            negative = smaller(negative, Key<T>::of(score, j));
        }
    }

    const bool first_lane = threadIdx.x % Square::kRowLanes == 0;
    const auto reduce = [&](Key<T> key, Key<T>& winner) {
        key = smallest_of(key, Square::kRowLanes);
        if (first_lane) winner = smaller(winner, key);
    };
    reduce(negative, sketch.negative);
    if (has_positives) reduce(positive, sketch.positive);
}

// The block's sketches, with no winners yet.
template <typename S, typename Square>
__device__ void start(const MineArguments<S>& in, int64_t first_row,
                      MineMemory<Compute<S>, Square>& memory) {
    using T = Compute<S>;
    for (int row = threadIdx.x; row < Square::kRows; row += kTileThreads) {
        const int64_t i = min(first_row + row, in.sketch.rows - 1);
        const SketchState<T> sketch = {in.labels.of_sketch(i), Key<T>::none(), Key<T>::none(),
                                       in.sketch_norms[i]};
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

template <typename S, typename Square>
__device__ void mine_split(const MineArguments<S>& in, MineMemory<Compute<S>, Square>& memory) {
    using T = Compute<S>;
    constexpr int kRows = Square::kRows, kColumns = Square::kColumns;
    static_assert(kColumns <= kTileThreads && kRows <= kTileThreads);
    const int64_t first_row = static_cast<int64_t>(blockIdx.x) * kRows;
    start<S, Square>(in, first_row, memory);

    Square tile;
    const unsigned begin = blockIdx.y * in.tiles_per_split;
    const unsigned end = min(begin + in.tiles_per_split, in.column_tiles);
    for (unsigned column_tile = begin; column_tile < end; ++column_tile) {
        const int64_t first_column = static_cast<int64_t>(column_tile) * kColumns;
        const int64_t j = first_column + threadIdx.x;
        const bool own_column = threadIdx.x < kColumns && j < in.photo.rows;
        PhotoState<T> photo = {};
        if (own_column) photo = {in.labels.of_photo(j), in.photo_norms[j]};
        const bool in_range =
            own_column && photo.label >= memory.lowest && photo.label <= memory.highest;
        // After this barrier no warp is at the last tile any more.
        const bool has_positives = __syncthreads_or(in_range);
        if (threadIdx.x < kColumns) memory.photos[threadIdx.x] = photo;

        tile.zero();
        tile.accumulate(memory.tile, in.sketch, first_row, in.photo, first_column, in.sketch.width,
                        Product());
        const int columns =
            static_cast<int>(min(in.photo.rows - first_column, static_cast<int64_t>(kColumns)));
        const unsigned found = candidates<S, Square>(in, tile, has_positives, memory);
#pragma unroll 1
        for (int at = 0; at < Square::kOwnRows * kGroups<Square>; ++at) {
            if (__ballot_sync(kFullMask, found >> at & 1) == 0) continue;
            select<S, Square>(in, tile, at / kGroups<Square>, at % kGroups<Square>, first_row,
                              first_column, columns, has_positives, memory);
        }
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

template <typename S, typename Square>
__global__ void __launch_bounds__(kTileThreads, 2) mine_tiles(const MineArguments<S> in) {
    if constexpr (Square::kAvailable) {
        mine_split<S, Square>(in, shared_memory<MineMemory<Compute<S>, Square>>());
    }
}

// --- Infinite guidance --------------------------------------------------------------------------

constexpr int kClosestThreads = 256;
constexpr int kClosestColumns = 8;
constexpr int kClosestRows = 16;

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
    for (int64_t i = first_row; i < first_row + kClosestRows && i < codes.n; ++i) {
        T h[kClosestColumns];
        attribute_distances(codes, i, first_column, column, h);
        const int64_t label = labels.of_sketch(i);
        Key<double> smallest = Key<double>::none();
#pragma unroll
        for (int c = 0; c < kClosestColumns; ++c) {
            // A clamped column is one that another thread has too.
            if (labels.of_photo(first_column + column(c)) == label) continue;
            smallest.ordered = min(
                smallest.ordered,
                static_cast<unsigned long long>(__double_as_longlong(static_cast<double>(h[c]))));
        }
        smallest = smallest_of(smallest, kWarp);
        if (threadIdx.x % kWarp == 0) atomicMin(closest + i, smallest.ordered);
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
    constexpr size_t kShared = sizeof(MineMemory<Compute<S>, Square>);
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

}  // namespace

MiningPlan::MiningPlan(const Mining& mining, Engine engine_) : engine(engine_) {
    // Enough blocks to keep the largest chips busy for a few waves, without asking which it is.
    constexpr int64_t kEnoughTiles = 256, kBlocks = 1024, kMaxSplits = 65535;
    const auto enough = [&](int64_t rows, int64_t columns) {
        return ceil_div(mining.n, rows) * ceil_div(mining.m, columns) >= kEnoughTiles;
    };
    if (engine != Engine::cuda_cores) {
        const int wide = large_columns(mining.type);
        const bool large = enough(kLargeRows, wide);
        rows = large ? kLargeRows : 64;
        columns = large ? wide : 64;
    } else {
        const bool large = mining.type != ScalarType::float64 && enough(128, 64);
        rows = large ? 128 : enough(64, 64) ? 64 : 32;
        columns = std::min(rows, 64);
    }
    row_tiles = ceil_div(mining.n, rows);
    column_tiles = ceil_div(mining.m, columns);
    const int64_t wanted = std::min(ceil_div(kBlocks, std::max<int64_t>(row_tiles, 1)), kMaxSplits);
    tiles_per_split = std::max<int64_t>(1, ceil_div(column_tiles, wanted));
    splits = std::max<int64_t>(1, ceil_div(column_tiles, tiles_per_split));
}

int64_t most_splits(const Mining& mining) {
    return std::max(MiningPlan(mining, Engine::cuda_cores).splits,
                    MiningPlan(mining, Engine::tensor_cores).splits);
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
                                        guidance,
                                        mining.metric,
                                        mining.exclude_self,
                                        grid_of(plan.column_tiles),
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
        const MiningPlan plan(mining, engine_for(mining.type));
        Workspace workspace(memory);
        const MiningScratch<T> scratch(workspace, mining);
        mine<S>(mining, plan, scratch, stream);
        FGSBIR_CHECK_CUDA(launch(write_triplets<T>, grid_of(ceil_div(mining.n, kFinishWarps)),
                                 kFinishWarps * kWarp, 0, stream, scratch.positive,
                                 scratch.negative, plan.splits, mining.n, positive, negative));
    });
}

}  // namespace fgsbir::cuda
