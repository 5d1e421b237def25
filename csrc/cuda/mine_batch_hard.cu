// Guided batch-hard mining: the farthest positive and the nearest negative of every sketch.
//
// One pass over tiles of the score matrix d + beta h, which is never written: an engine (engine.h)
// leaves inner products in registers, and each row keeps its smallest key (key.cuh). A block walks
// over the tiles of one split of the photos and writes one key a row; whoever reads the result
// takes the smallest over the splits. There are as many splits as it takes to fill a chip when the
// sketches alone do not.
//
// What is done with the products of a tile is in two files, with the same scores: mine_scan.cuh,
// fast, for attributes without weights and ordinary numbers; mine_weigh.cuh for all else. A block
// takes one or the other for all of its tiles.
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

#include "mine_scan.cuh"
#include "mine_weigh.cuh"
#include "tensor_engines.cuh"

namespace fgsbir::cuda {
namespace {

// The block's sketches, with no winners yet.
template <typename S, typename TileType>
__device__ void start(const MineArguments<S>& in, int64_t first_row,
                      MineMemory<Compute<S>, TileType>& memory) {
    using T = Compute<S>;
    for (int row = threadIdx.x; row < TileType::kRows; row += kTileThreads) {
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
        for (int team = 0; team < TileType::kRowTeams; ++team) memory.sketches[team][row] = sketch;
    }
    __syncthreads();  // publishes the sketches, which the first warp reads
    if (threadIdx.x < kWarp) {
        const SketchState<T>* sketches = memory.sketches[0];
        int64_t lowest = sketches[threadIdx.x].label, highest = lowest;
        for (int row = threadIdx.x + kWarp; row < TileType::kRows; row += kWarp) {
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
    __syncthreads();  // publishes the range of labels
}

// Rows of a tile and columns of one split, which are whole tiles but for the end of the photos.
template <bool kScans, typename S, typename TileType>
__device__ __forceinline__ void mine_split(const MineArguments<S>& in,
                                           MineMemory<Compute<S>, TileType>& memory,
                                           int64_t first_row, int64_t begin, int64_t end) {
    using T = Compute<S>;
    constexpr int kRows = TileType::kRows, kColumns = TileType::kColumns;
    static_assert(kColumns <= kTileThreads && kRows <= kTileThreads);
    start<S, TileType>(in, first_row, memory);

    TileType tile;
    // Loads the thread's photo of a tile, and returns a function that stores it to shared memory.
    // scan() multiplies in between, which hides the loads; weigh() lacks the registers for that.
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
        // Publishes the photos of this tile, and frees those of the last one.
        const bool has_positives = __syncthreads_or(in_range);
        const int64_t coming = first_column + kColumns;
        const auto multiply = [&] {
            tile.accumulate(memory.tile, in.sketch, first_row, in.photo, first_column,
                            in.sketch.width, Product(), kScans && coming < end ? coming : kNoTile);
        };
        // Those after the last tile are read by nobody.
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
            with_unrooted(in.metric, [&](auto of) {
                scan<decltype(of)>(in, tile, first_row, first_column, columns, has_positives,
                                   photos, memory);
            });
        } else {
            weigh(in, tile, first_row, first_column, columns, has_positives, photos, memory);
        }
        at = 1 - at;
    }

    __syncthreads();  // publishes the winners
    const int64_t i = first_row + threadIdx.x;
    if (threadIdx.x >= kRows || i >= in.sketch.rows) return;
    Key<T> positive = Key<T>::none(), negative = Key<T>::none();
#pragma unroll
    for (int team = 0; team < TileType::kRowTeams; ++team) {
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
            untamed |= !with_unrooted(in.metric, [=](auto of) { return of.is_tame(norms[row]); });
        }
    };
    look(in.sketch_norms, first_row, end_row);
    look(in.photo_norms, begin, end);
    return !__syncthreads_or(untamed);  // a vote
}

// The tile that weigh() is done in where scan() is done in TileType: what a kernel has of registers
// is not enough for both in large tiles.
template <typename T, typename TileType>
using WeighIn = std::conditional_t<(TileType::kRows > kSmallSide), Tile<T, 32, 32>, TileType>;

template <typename T, typename TileType>
union MineMemories {
    MineMemory<T, TileType> of_scan;
    MineMemory<T, WeighIn<T, TileType>> of_weigh;
};

constexpr int kBlocksAtOnce = 2;  // on a multiprocessor

// Shared memory of a multiprocessor. Where it is enough for one block alone, that may have more
// registers.
#if !defined(__CUDA_ARCH__)
constexpr size_t kSharedOfChip = kSharedOfHopper;
#elif __CUDA_ARCH__ == 750
constexpr size_t kSharedOfChip = 64 * 1024;
#elif __CUDA_ARCH__ == 800 || __CUDA_ARCH__ == 870
constexpr size_t kSharedOfChip = 164 * 1024;
#elif __CUDA_ARCH__ >= 900 && __CUDA_ARCH__ < 1200
constexpr size_t kSharedOfChip = 228 * 1024;
#else
constexpr size_t kSharedOfChip = 100 * 1024;
#endif
template <typename T, typename TileType>
constexpr int kBlocksPerMultiprocessor =
    kBlocksAtOnce * (sizeof(MineMemories<T, TileType>) + 1024) > kSharedOfChip ? 1 : kBlocksAtOnce;

template <typename S, typename TileType>
__global__ void __launch_bounds__(kTileThreads, kBlocksPerMultiprocessor<Compute<S>, TileType>)
    mine_tiles(const MineArguments<S> in) {
    if constexpr (TileType::kAvailable) {
        using T = Compute<S>;
        using Small = WeighIn<T, TileType>;
        auto& memory = shared_memory<MineMemories<T, TileType>>();
        const int64_t first_row = static_cast<int64_t>(blockIdx.x) * TileType::kRows;
        const int64_t end_row = min(first_row + TileType::kRows, in.sketch.rows);
        const int64_t columns = static_cast<int64_t>(in.tiles_per_split) * TileType::kColumns;
        const int64_t begin = blockIdx.y * columns, end = min(begin + columns, in.photo.rows);
        if (!in.scans || !are_tame(in, first_row, end_row, begin, end)) {
            for (int64_t row = first_row; row < end_row; row += Small::kRows) {
                mine_split<false, S, Small>(in, memory.of_weigh, row, begin, end);
            }
            return;
        }
        if constexpr (std::is_same_v<T, float>) {
            mine_split<true, S, TileType>(in, memory.of_scan, first_row, begin, end);
        }
    } else {
        __trap();
    }
}

// --- Infinite guidance ---------------------------------------------------------------------------

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

// --- The result, where mining is all that is wanted ----------------------------------------------

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

// --- Plan ----------------------------------------------------------------------------------------

// How the matrix of pairs is cut into tiles.
struct MiningTiles {
    Engine engine;
    int rows, columns;  // of a tile
    int64_t row_tiles, column_tiles;
    int64_t most_splits;

    MiningTiles(const Mining& mining, Engine engine);
};

// And its columns into splits of whole tiles: each block takes one row of tiles within one split.
// Up to the rounding of inner products, results do not depend on it.
struct MiningPlan : MiningTiles {
    int64_t tiles_per_split, splits;

    // The splits that take the least time on a device with so many blocks at once.
    MiningPlan(const MiningTiles& tiles, int64_t blocks_at_once);
};

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

// Large tiles are for scan() alone.
MiningTiles::MiningTiles(const Mining& mining, Engine engine_) : engine(engine_) {
    const auto enough = [&](int64_t of_rows, int64_t of_columns) {
        return fill_a_chip(mining.n, mining.m, of_rows, of_columns);
    };
    if (mining.guidance != 0) {
        engine = engine_for_words(engine, attribute_code_words(mining.attributes.k));
    }
    if (engine != Engine::cuda_cores) {
        const int wide = large_columns(mining.type);
        const bool large = can_scan(mining) && enough(kLargeRows, wide);
        rows = large ? kLargeRows : kSmallSide;
        columns = large ? wide : kSmallSide;
    } else {
        const bool large = can_scan(mining) && enough(128, 64);
        rows = large ? 128 : enough(64, 64) ? 64 : 32;
        columns = std::min(rows, 64);
    }
    row_tiles = ceil_div(mining.n, rows);
    column_tiles = ceil_div(mining.m, columns);
    // Enough blocks to fill the largest chips a few times over.
    constexpr int64_t kWantedBlocks = 1024;
    const int64_t wanted = ceil_div(kWantedBlocks, std::max<int64_t>(row_tiles, 1));
    most_splits = std::max<int64_t>(1, std::min(wanted, column_tiles));
}

MiningPlan::MiningPlan(const MiningTiles& tiles, int64_t blocks_at_once) : MiningTiles(tiles) {
    // What a block does once, beginning without winners too, takes about as long as a tile.
    constexpr int64_t kStart = 1;
    int64_t least = std::numeric_limits<int64_t>::max();
    // Of the splits that take so many rounds of blocks the most take the least time.
    for (int64_t rounds = ceil_div(row_tiles, blocks_at_once);; ++rounds) {
        const int64_t filling = rounds * blocks_at_once / std::max<int64_t>(row_tiles, 1);
        const int64_t wanted = std::clamp<int64_t>(filling, 1, most_splits);
        const int64_t length = std::max<int64_t>(1, ceil_div(column_tiles, wanted));
        const int64_t parts = std::max<int64_t>(1, ceil_div(column_tiles, length));
        const int64_t time = ceil_div(row_tiles * parts, blocks_at_once) * (length + kStart);
        if (time < least) {
            least = time;
            tiles_per_split = length;
            splits = parts;
        }
        if (wanted == most_splits) return;
    }
}

// On the current device.
MiningPlan plan_of(const Mining& mining) {
    return {MiningTiles(mining, engine_for(mining.type)), kBlocksAtOnce * multiprocessors()};
}

// --- Launches ------------------------------------------------------------------------------------

template <typename S, typename TileType>
void launch_tiles(const MineArguments<S>& arguments, const MiningPlan& plan, cudaStream_t stream) {
    static DeviceSet allowed;
    constexpr size_t kShared = sizeof(MineMemories<Compute<S>, TileType>);
    static_assert(kShared <= TileType::kMostShared);
    const auto kernel = mine_tiles<S, TileType>;
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
            return with_tensor_tile<S>(plan.engine, large, [&](auto tag) {
                launch_tiles<S, typename decltype(tag)::Type>(arguments, plan, stream);
            });
        }
        if (plan.rows == 128) return launch_tiles<S, Tile<T, 128, 64>>(arguments, plan, stream);
    }
    if (plan.rows == 64) return launch_tiles<S, Tile<T, 64, 64>>(arguments, plan, stream);
    launch_tiles<S, Tile<T, 32, 32>>(arguments, plan, stream);
}

}  // namespace

int64_t mining_splits(const Mining& mining) {
    return plan_of(mining).splits;
}

template <typename S>
Mined<Compute<S>> mine(const Mining& mining, Workspace& workspace, cudaStream_t stream) {
    using T = Compute<S>;
    const MiningPlan plan = plan_of(mining);
    const MiningScratch<T> scratch(workspace, mining, plan.splits);
    if (mining.m >= 0xffffffffll) throw std::runtime_error("mining takes at most 2^32 - 2 photos");

    Preparation preparation = {};
    preparation.type = mining.type;
    preparation.d = mining.d;
    preparation.inverse_norms = has_unit_rows(mining.metric);
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

    const auto share = static_cast<T>(
        mining.guidance / static_cast<double>(std::max<int64_t>(1, mining.attributes.k)));
    MineArguments<S> arguments = {};
    arguments.sketch = {static_cast<const S*>(mining.sketch), mining.n, mining.d};
    arguments.photo = {static_cast<const S*>(mining.photo), mining.m, mining.d};
    arguments.sketch_norms = scratch.sketch_norms;
    arguments.photo_norms = scratch.photo_norms;
    arguments.labels = labels;
    arguments.codes = scratch.codes;
    arguments.closest = scratch.closest;
    arguments.positive = scratch.positive;
    arguments.negative = scratch.negative;
    arguments.beta = static_cast<T>(mining.guidance);
    arguments.share = share;
    arguments.guidance = guidance;
    arguments.metric = mining.metric;
    // The order of squares is that of their roots, which are wanted only where something is added.
    arguments.rooted = has_root(mining.metric) && guidance == Guidance::finite;
    arguments.exclude_self = mining.exclude_self;
    arguments.scans = can_scan(mining);
    arguments.tiles_per_split = grid_of(plan.tiles_per_split);
    launch_plan(arguments, plan, stream);
    return {scratch, plan.splits};
}

template Mined<float> mine<float>(const Mining&, Workspace&, cudaStream_t);
template Mined<double> mine<double>(const Mining&, Workspace&, cudaStream_t);
template Mined<float> mine<__half>(const Mining&, Workspace&, cudaStream_t);
template Mined<float> mine<__nv_bfloat16>(const Mining&, Workspace&, cudaStream_t);

int64_t mine_batch_hard_workspace(const Mining& mining) {
    return workspace_size(mining.type, [&](auto s, Workspace& workspace) {
        MiningScratch<Compute<decltype(s)>>(workspace, mining, mining_splits(mining));
    });
}

void mine_batch_hard(const Mining& mining, int64_t* positive, int64_t* negative, void* memory,
                     Stream stream) {
    with_type(mining.type, [&](auto type) {
        using S = decltype(type);
        Workspace workspace(memory);
        const auto mined = mine<S>(mining, workspace, stream);
        FGSBIR_CHECK_CUDA(launch(write_triplets<Compute<S>>,
                                 grid_of(ceil_div(mining.n, kFinishWarps)), kFinishWarps * kWarp, 0,
                                 stream, mined.positive, mined.negative, mined.splits, mining.n,
                                 positive, negative));
    });
}

}  // namespace fgsbir::cuda
