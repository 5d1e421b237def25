// Guided batch-hard mining: the farthest positive and the nearest negative of every sketch.
//
// One pass over square tiles of the score matrix d + beta h, which is never written: tile.cuh
// leaves inner products in registers, they become distances and scores there, and each row keeps
// its smallest key (key.cuh). A block walks over the tiles of one split of the photos and writes
// one key a row; whoever reads the result takes the smallest over the splits. There are as many
// splits as it takes to fill a chip when the sketches alone do not.
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

#include "mining.cuh"
#include "tile.cuh"

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

    // Where a square or a product overflowed, inf - inf is no NaN of the distance.
    __device__ Compute<S> direct_distance(int64_t i, int64_t j) const {
        return distance_of_rows(sketch.data + i * sketch.width, photo.data + j * photo.width,
                                sketch.width, row_scale(sketch_norms, metric, i),
                                row_scale(photo_norms, metric, j), metric);
    }
    __device__ Compute<S> closest_of(int64_t i) const {
        return static_cast<Compute<S>>(__longlong_as_double(static_cast<long long>(closest[i])));
    }
};

template <typename T, int kRows, int kColumns>
struct MineMemory {
    typename Tile<T, kRows, kColumns>::Memory tile;
    Key<T> positive[kRows];  // winners so far; only the first lane of a row touches them
    Key<T> negative[kRows];
    int64_t labels[kRows];    // of the block's sketches,
    int64_t lowest, highest;  // and their range
};

// Takes the pairs of this thread in row r of the tile into account. `columns` of the tile exist.
template <typename S, int kRows, int kColumns>
__device__ __forceinline__ void select(const MineArguments<S>& in,
                                       const Tile<Compute<S>, kRows, kColumns>& tile, int r,
                                       int64_t first_row, int64_t first_column, int columns,
                                       bool has_positives,
                                       MineMemory<Compute<S>, kRows, kColumns>& memory) {
    using T = Compute<S>;
    using Square = Tile<T, kRows, kColumns>;
    const int own = Square::row(r);
    const int64_t i = min(first_row + own, in.sketch.rows - 1);
    const T norm = in.sketch_norms[i];
    const T closest = in.guidance == Guidance::lexicographic ? in.closest_of(i) : T(0);

    Key<T> positive = Key<T>::none(), negative = Key<T>::none();
    T values[Square::kOwnColumns], h[Square::kOwnColumns] = {};
    tile.copy_row(r, values);
    if (in.guidance != Guidance::none) {
        const auto column = [&](int c) { return min(Square::column(c), columns - 1); };
        attribute_distances(in.codes, i, first_column, column, h);
    }
#pragma unroll
    for (int c = 0; c < Square::kOwnColumns; ++c) {
        if (Square::column(c) >= columns) continue;
        const int64_t j = first_column + Square::column(c);
        T d = distance_from_product(values[c], norm, in.photo_norms[j], in.metric);
        if (d != d) d = in.direct_distance(i, j);
        if (has_positives && memory.labels[own] == in.labels.of_photo(j)) {
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
    negative = smallest_of(negative, Square::kRowLanes);
    if (first_lane) memory.negative[own] = smaller(memory.negative[own], negative);
    if (!has_positives) return;
    positive = smallest_of(positive, Square::kRowLanes);
    if (first_lane) memory.positive[own] = smaller(memory.positive[own], positive);
}

template <typename S, int kRows, int kColumns>
__global__ void __launch_bounds__(kTileThreads, 2) mine_tiles(const MineArguments<S> in) {
    using T = Compute<S>;
    auto& memory = shared_memory<MineMemory<T, kRows, kColumns>>();
    const int64_t first_row = static_cast<int64_t>(blockIdx.x) * kRows;
    const int64_t rows = in.sketch.rows;

    for (int t = threadIdx.x; t < kRows; t += kTileThreads) {
        memory.labels[t] = in.labels.of_sketch(min(first_row + t, rows - 1));
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        int64_t lowest = memory.labels[0], highest = lowest;
        for (int t = 1; t < kRows; ++t) {
            lowest = min(lowest, memory.labels[t]);
            highest = max(highest, memory.labels[t]);
        }
        memory.lowest = lowest;
        memory.highest = highest;
    }
    __syncthreads();

    using Square = Tile<T, kRows, kColumns>;
    Square tile;
    const bool first_lane = threadIdx.x % Square::kRowLanes == 0;
#pragma unroll
    for (int r = 0; r < Square::kOwnRows; ++r) {
        if (!first_lane) break;
        memory.positive[Square::row(r)] = Key<T>::none();
        memory.negative[Square::row(r)] = Key<T>::none();
    }

    const unsigned begin = blockIdx.y * in.tiles_per_split;
    const unsigned end = min(begin + in.tiles_per_split, in.column_tiles);
    for (unsigned column_tile = begin; column_tile < end; ++column_tile) {
        const int64_t first_column = static_cast<int64_t>(column_tile) * kColumns;
        const int64_t j = first_column + threadIdx.x;
        bool in_range = false;
        if (threadIdx.x < kColumns && j < in.photo.rows) {
            const int64_t label = in.labels.of_photo(j);
            in_range = label >= memory.lowest && label <= memory.highest;
        }
        const bool has_positives = __syncthreads_or(in_range);

        tile.zero();
        tile.accumulate(memory.tile, in.sketch, first_row, in.photo, first_column, in.sketch.width,
                        Product());
        const int columns =
            static_cast<int>(min(in.photo.rows - first_column, static_cast<int64_t>(kColumns)));
#pragma unroll 1
        for (int r = 0; r < Square::kOwnRows; ++r) {
            select<S, kRows, kColumns>(in, tile, r, first_row, first_column, columns, has_positives,
                                       memory);
        }
    }

#pragma unroll
    for (int r = 0; r < Square::kOwnRows; ++r) {
        const int64_t i = first_row + Square::row(r);
        if (!first_lane || i >= rows) continue;
        in.positive[blockIdx.y * rows + i] = memory.positive[Square::row(r)];
        in.negative[blockIdx.y * rows + i] = memory.negative[Square::row(r)];
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

template <typename S, int kRows, int kColumns>
void launch_tiles(const MineArguments<S>& arguments, const MiningPlan& plan, cudaStream_t stream) {
    using Memory = MineMemory<Compute<S>, kRows, kColumns>;
    static_assert(sizeof(Memory) <= 48 * 1024, "needs no opt-in");
    const dim3 grid(grid_of(plan.row_tiles), static_cast<unsigned>(plan.splits));
    FGSBIR_CHECK_CUDA(launch(mine_tiles<S, kRows, kColumns>, grid, kTileThreads, sizeof(Memory),
                             stream, arguments));
}

}  // namespace

MiningPlan::MiningPlan(const Mining& mining) {
    // Enough blocks to keep the largest chips busy for a few waves, without asking which it is:
    // the plan, and with it the size of the workspace, is the same everywhere.
    constexpr int64_t kEnoughTiles = 256, kBlocks = 1024, kMaxSplits = 65535;
    const auto enough = [&](int64_t rows, int64_t columns) {
        return ceil_div(mining.n, rows) * ceil_div(mining.m, columns) >= kEnoughTiles;
    };
    const bool large = mining.type != ScalarType::float64 && enough(128, 64);
    rows = large ? 128 : enough(64, 64) ? 64 : 32;
    columns = std::min(rows, 64);
    row_tiles = ceil_div(mining.n, rows);
    column_tiles = ceil_div(mining.m, columns);
    const int64_t wanted = std::min(ceil_div(kBlocks, std::max<int64_t>(row_tiles, 1)), kMaxSplits);
    tiles_per_split = std::max<int64_t>(1, ceil_div(column_tiles, wanted));
    splits = std::max<int64_t>(1, ceil_div(column_tiles, tiles_per_split));
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

    const MineArguments<S> arguments = {
        {static_cast<const S*>(mining.sketch), nullptr, mining.n, mining.d},
        {static_cast<const S*>(mining.photo), nullptr, mining.m, mining.d},
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
    if constexpr (std::is_same_v<T, float>) {
        if (plan.rows == 128) return launch_tiles<S, 128, 64>(arguments, plan, stream);
    }
    if (plan.rows == 64) return launch_tiles<S, 64, 64>(arguments, plan, stream);
    launch_tiles<S, 32, 32>(arguments, plan, stream);
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
    int64_t size = 0;
    with_type(mining.type, [&](auto type) {
        Workspace workspace(nullptr);
        MiningScratch<Compute<decltype(type)>>(workspace, mining, MiningPlan(mining));
        size = workspace.size();
    });
    return size;
}

void mine_batch_hard(const Mining& mining, int64_t* positive, int64_t* negative, void* memory,
                     Stream stream) {
    with_type(mining.type, [&](auto type) {
        using S = decltype(type);
        using T = Compute<S>;
        const MiningPlan plan(mining);
        Workspace workspace(memory);
        const MiningScratch<T> scratch(workspace, mining, plan);
        mine<S>(mining, plan, scratch, stream);
        FGSBIR_CHECK_CUDA(launch(write_triplets<T>, grid_of(ceil_div(mining.n, kFinishWarps)),
                                 kFinishWarps * kWarp, 0, stream, scratch.positive,
                                 scratch.negative, plan.splits, mining.n, positive, negative));
    });
}

}  // namespace fgsbir::cuda
