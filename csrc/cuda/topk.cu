// The k nearest of a gallery by d + mu D, for every query, without the matrix of distances.
//
// search_tiles: a block takes one row of tiles (engine.h) within one split of the gallery. For each
// query it keeps a pool of candidate keys in device memory and, as a threshold, the k-th smallest
// seen so far; a pair enters the pool only below the threshold, which soon almost none is. A pool
// that could overflow in the next tile is sorted in shared memory and cut to k. Which pairs survive
// is decided by integer keys, so it does not depend on the order in which they came. merge_splits:
// one block a query takes the k smallest over all splits, computes their distances anew from the
// rows themselves, and sorts by (distance, index).
//
// D is summed over attributes like d over dimensions, from operands that write_predictions makes of
// the logits: probabilities, or for the cross-entropy (a, 1 - a) and (-log b, -log (1 - b)).
//
// Memory traffic: as mining, plus one pool of pool_size(k) keys a query and split, and k gathered
// rows a query. Limits: k <= 1024, M < 2^32 - 1.

#include "engine.h"
#include "key.cuh"
#include "metric.cuh"
#include "predictions.cuh"
#include "prepare.h"
#include "sort.cuh"
#include "tensor_tile.cuh"

namespace fgsbir::cuda {
namespace {

// Smaller tiles for float64: a block then has the registers for two squares of them.
template <typename T>
constexpr int kSide = sizeof(T) == 8 ? 32 : 64;
constexpr int kMaxSide = 64;
constexpr int kWarps = kTileThreads / kWarp;
constexpr int kSortKeys = 2048;  // keys that fit the block's shared memory
constexpr int kSmallPool = kSortKeys / kWarps;

// A pool holds k keys and a tile's worth of new ones; twice that, so that cutting it is rare.
constexpr int pool_size(int k) {
    return std::max(power_of_two(k + 2 * kMaxSide), kSmallPool);
}
static_assert(pool_size(kMaxTopK) == kSortKeys, "a pool is sorted in shared memory");

template <typename S>
struct SearchArguments {
    using T = Compute<S>;

    Rows<S> query;                // [N, D]
    Rows<S> gallery;              // [M, D]
    const T* query_norms;         // [N] as metric.cuh has them
    const T* gallery_norms;       // [M]
    const S* query_logits;        // [N, K]
    const S* gallery_logits;      // [M, K]
    Rows<T> query_predictions;    // [N, K or 2 K]
    Rows<T> gallery_predictions;  // [M, K or 2 K]
    Key<T>* pools;                // [N, splits, pool]
    T* values;                    // [N, k]
    int64_t* indices;             // [N, k]
    T mu;
    bool with_attributes;
    Metric metric;
    AttributeMetric attribute_metric;
    int k, pool;
    int64_t attributes, column_tiles, tiles_per_split, splits;

    __device__ T predicted_difference_of(int64_t i, int64_t j, int64_t at) const {
        return predicted_difference(probability(to_compute(query_logits[i * attributes + at])),
                                    to_compute(gallery_logits[j * attributes + at]),
                                    attribute_metric);
    }
};

// --- Operands of D -------------------------------------------------------------------------------

// One warp a row. A sketch's side of D is its probabilities; a photo's is what they meet.
template <typename S>
__global__ void __launch_bounds__(kTileThreads)
    write_predictions(const S* logits /* [rows, k] */, Compute<S>* out /* [rows, k or 2 k] */,
                      int64_t rows, int64_t k, AttributeMetric metric, bool of_gallery) {
    using T = Compute<S>;
    const int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarp;
    if (row >= rows) return;
    const bool pairs = metric == AttributeMetric::cross_entropy;
    T* own = out + row * (pairs ? 2 * k : k);
    for (int64_t at = threadIdx.x % kWarp; at < k; at += kWarp) {
        const T logit = to_compute(logits[row * k + at]);
        const T p = probability(logit).yes;
        own[at] = pairs && of_gallery ? softplus(-logit) : p;
        if (pairs) own[k + at] = of_gallery ? softplus(logit) : 1 - p;
    }
}

// --- Search --------------------------------------------------------------------------------------

// D is summed on CUDA cores, for the few attributes and all ways to compare them, by threads that
// hold the same pairs as those of the engine of d.
template <typename T, typename TileType>
using PredictionTile = Tile<T, TileType::kRows, TileType::kColumns, typename TileType::Layout>;

template <typename T, typename TileType>
struct SearchMemory {
    union {
        typename TileType::Memory tile;
        typename PredictionTile<T, TileType>::Memory predictions;
        Key<T> keys[kSortKeys];
    };
    Key<T> thresholds[TileType::kRows];
    int counts[TileType::kRows];  // keys in each pool
};

// Cuts a pool of `count` keys to its k smallest, ascending; they are padded where there are fewer.
template <typename T>
__device__ void cut(Key<T>* pool, int count, int k, Key<T>* keys, const Team& team) {
    const int padded = power_of_two(max(count, k));
    for (int at = team.rank; at < padded; at += team.size) {
        keys[at] = at < count ? pool[at] : Key<T>::none();
    }
    team.sync();  // publishes the keys
    sort(keys, padded, team);
    for (int at = team.rank; at < k; at += team.size) pool[at] = keys[at];
}

// Cuts those pools of the block's rows that hold more than `limit` keys. All threads call it.
template <typename S, typename Memory>
__device__ void cut_pools(const SearchArguments<S>& in, Key<Compute<S>>* pools, int64_t stride,
                          int rows, int limit, Memory& memory) {
    const bool by_warp = in.pool <= kSmallPool;
    const int warp = threadIdx.x / kWarp;
    const Team team = by_warp ? Team::warp() : Team::block(kTileThreads);
    Key<Compute<S>>* keys = memory.keys + (by_warp ? warp * kSmallPool : 0);
    for (int row = by_warp ? warp : 0; row < rows; row += by_warp ? kWarps : 1) {
        const int count = memory.counts[row];
        if (count <= limit) continue;
        cut(pools + row * stride, count, in.k, keys, team);
        if (team.rank == 0) {
            memory.counts[row] = min(count, in.k);
            memory.thresholds[row] = keys[in.k - 1];
        }
        team.sync();  // frees the keys for the next row
    }
    __syncthreads();  // publishes counts and thresholds to the next tile
}

// r(i, j) by one thread alone: where a square or a product overflowed, inf - inf is no NaN of it,
// nor is it infinite.
template <typename S>
__device__ Compute<S> score_of_rows(const SearchArguments<S>& in, int64_t i, int64_t j) {
    using T = Compute<S>;
    const int64_t width = in.query.width;
    const T d = distance_of_rows(in.query.data + i * width, in.gallery.data + j * width, width,
                                 row_scale(in.query_norms, in.metric, i),
                                 row_scale(in.gallery_norms, in.metric, j), in.metric);
    if (!in.with_attributes) return d;
    T sum = 0;
#pragma unroll 1
    for (int64_t k = 0; k < in.attributes; ++k) sum += in.predicted_difference_of(i, j, k);
    return add_scaled(d, in.mu, predicted_distance_of(sum, in.attributes, in.attribute_metric));
}

template <typename S, typename TileType>
__device__ void search_split(const SearchArguments<S>& in,
                             SearchMemory<Compute<S>, TileType>& memory) {
    using T = Compute<S>;
    constexpr int kRows = TileType::kRows, kColumns = TileType::kColumns;
    const int64_t first_row = static_cast<int64_t>(blockIdx.x) * kRows;
    const int rows = static_cast<int>(min(in.query.rows - first_row, int64_t(kRows)));
    const int64_t stride = in.splits * in.pool;
    Key<T>* pools = in.pools + (first_row * stride + static_cast<int64_t>(blockIdx.y) * in.pool);

    if (threadIdx.x < kRows) {
        memory.thresholds[threadIdx.x] = Key<T>::none();
        memory.counts[threadIdx.x] = 0;
    }
    __syncthreads();  // publishes the counters, whatever barriers an engine has

    const int64_t begin = blockIdx.y * in.tiles_per_split;
    const int64_t end = min(begin + in.tiles_per_split, in.column_tiles);
    for (int64_t column_tile = begin; column_tile < end; ++column_tile) {
        const int64_t first_column = column_tile * kColumns;
        TileType of_embeddings;
        PredictionTile<T, TileType> of_predictions;
        of_embeddings.accumulate(memory.tile, in.query, first_row, in.gallery, first_column,
                                 in.query.width, Product());
        if (in.with_attributes) {
            const int64_t width = in.query_predictions.width;
            if (in.attribute_metric == AttributeMetric::cross_entropy) {
                of_predictions.accumulate(memory.predictions, in.query_predictions, first_row,
                                          in.gallery_predictions, first_column, width, Product());
            } else {
                of_predictions.accumulate(memory.predictions, in.query_predictions, first_row,
                                          in.gallery_predictions, first_column, width,
                                          SquaredDifference());
            }
        }
#pragma unroll
        for (int r = 0; r < TileType::kOwnRows; ++r) {
            const int row = TileType::row(r);
            if (row >= rows) continue;
            const T norm = in.query_norms[first_row + row];
            const Key<T> threshold = memory.thresholds[row];
#pragma unroll
            for (int c = 0; c < TileType::kOwnColumns; ++c) {
                const int64_t j = first_column + TileType::column(c);
                if (j >= in.gallery.rows) continue;
                T score = distance_from_product(of_embeddings.values[r][c], norm,
                                                in.gallery_norms[j], in.metric);
                if (in.with_attributes) {
                    const T predicted = predicted_distance_of(of_predictions.values[r][c],
                                                              in.attributes, in.attribute_metric);
                    score = add_scaled(score, in.mu, predicted);
                }
                if (score - score != 0) score = score_of_rows(in, first_row + row, j);
                const Key<T> key = Key<T>::of(score, j);
                if (key < threshold) {
                    pools[row * stride + atomicAdd(&memory.counts[row], 1)] = key;
                }
            }
        }
        __syncthreads();  // publishes the counts, and the keys in the pools
        const int limit = in.pool - kColumns;
        const bool full = threadIdx.x < kRows && memory.counts[threadIdx.x] > limit;
        // A vote, and the counts have been read, to which the next tile adds.
        if (__syncthreads_or(full)) cut_pools(in, pools, stride, rows, limit, memory);
    }
    cut_pools(in, pools, stride, rows, -1, memory);
}

template <typename S, typename TileType>
__global__ void __launch_bounds__(kTileThreads, 2) search_tiles(const SearchArguments<S> in) {
    if constexpr (TileType::kAvailable) {
        search_split<S, TileType>(in, shared_memory<SearchMemory<Compute<S>, TileType>>());
    } else {
        __trap();
    }
}

// --- Merge ---------------------------------------------------------------------------------------

template <typename T>
struct MergeMemory {
    Key<T> keys[kSortKeys];
};

// r(i, j) from the rows themselves, in every lane.
template <typename S>
__device__ Compute<S> direct_distance(const SearchArguments<S>& in, int64_t i, int64_t j) {
    using T = Compute<S>;
    const int64_t width = in.query.width;
    const T d = distance_of_rows_by_warp(in.query.data + i * width, in.gallery.data + j * width,
                                         width, row_scale(in.query_norms, in.metric, i),
                                         row_scale(in.gallery_norms, in.metric, j), in.metric);
    if (!in.with_attributes) return d;
    T sum = 0;
    for (int64_t k = threadIdx.x % kWarp; k < in.attributes; k += kWarp) {
        sum += in.predicted_difference_of(i, j, k);
    }
    const T predicted = predicted_distance_of(warp_sum(sum), in.attributes, in.attribute_metric);
    return add_scaled(d, in.mu, predicted);
}

template <typename S>
__global__ void __launch_bounds__(kTileThreads, 2) merge_splits(const SearchArguments<S> in) {
    using T = Compute<S>;
    Key<T>* keys = shared_memory<MergeMemory<T>>().keys;
    const int64_t i = blockIdx.x;
    const Team team = Team::block(kTileThreads);
    const Key<T>* pools = in.pools + i * in.splits * in.pool;

    // The k best so far, then as many of the next splits' as fit beside them.
    const int splits_at_once = (kSortKeys - in.k) / in.k;
    for (int64_t first = 0; first < in.splits; first += splits_at_once) {
        const int splits = static_cast<int>(min(in.splits - first, int64_t(splits_at_once)));
        const int kept = first == 0 ? 0 : in.k, count = kept + splits * in.k;
        const int padded = power_of_two(count);
        for (int at = kept + team.rank; at < padded; at += team.size) {
            const int new_key = at - kept;
            keys[at] = at < count ? pools[(first + new_key / in.k) * in.pool + new_key % in.k]
                                  : Key<T>::none();
        }
        team.sync();  // publishes the keys
        sort(keys, padded, team);
    }

    for (int at = threadIdx.x / kWarp; at < in.k; at += kWarps) {
        const int64_t j = keys[at].index();
        const T distance = direct_distance(in, i, j);
        __syncwarp();  // all lanes have read the key
        if (threadIdx.x % kWarp == 0) keys[at] = Key<T>::of(distance, j);
    }
    const int padded = power_of_two(in.k);
    for (int at = in.k + team.rank; at < padded; at += team.size) keys[at] = Key<T>::none();
    team.sync();  // publishes the keys
    sort(keys, padded, team);
    for (int at = team.rank; at < in.k; at += team.size) {
        in.values[i * in.k + at] = keys[at].score();
        in.indices[i * in.k + at] = keys[at].index();
    }
}

// --- Launches ------------------------------------------------------------------------------------

struct SearchPlan {
    int pool;
    int64_t row_tiles, column_tiles, tiles_per_split, splits;

    explicit SearchPlan(const Search& search) {
        // Splits fill the chip when queries are few; each is long enough to be worth its pool.
        constexpr int64_t kBlocks = 1024, kMaxSplits = 65535;
        pool = pool_size(static_cast<int>(search.k));
        const int side = search.type == ScalarType::float64 ? kSide<double> : kSide<float>;
        row_tiles = ceil_div(search.n, side);
        column_tiles = ceil_div(search.m, side);
        const int64_t wanted = ceil_div(kBlocks, std::max<int64_t>(row_tiles, 1));
        const int64_t worthwhile = search.m / pool;
        const int64_t most = std::max<int64_t>(1, std::min({wanted, worthwhile, kMaxSplits}));
        tiles_per_split = std::max<int64_t>(1, ceil_div(column_tiles, most));
        splits = std::max<int64_t>(1, ceil_div(column_tiles, tiles_per_split));
    }
};

template <typename S>
struct SearchScratch {
    using T = Compute<S>;
    T* query_norms;
    T* gallery_norms;
    T* query_predictions = nullptr;
    T* gallery_predictions = nullptr;
    Key<T>* pools;
    int64_t width = 0;  // of predictions

    SearchScratch(Workspace& workspace, const Search& search, const SearchPlan& plan) {
        query_norms = workspace.take<T>(search.n);
        gallery_norms = workspace.take<T>(search.m);
        pools = workspace.take<Key<T>>(search.n * plan.splits * plan.pool);
        if (!with_attributes(search)) return;
        const bool pairs = search.attribute_metric == AttributeMetric::cross_entropy;
        width = pairs ? 2 * search.attributes : search.attributes;
        query_predictions = workspace.take<T>(search.n * width);
        gallery_predictions = workspace.take<T>(search.m * width);
    }

    static bool with_attributes(const Search& search) {
        return search.query_logits != nullptr && search.attribute_weight != 0;
    }
};

template <typename S, typename TileType>
void launch_search(const SearchArguments<S>& arguments, const SearchPlan& plan,
                   cudaStream_t stream) {
    using Memory = SearchMemory<Compute<S>, TileType>;
    static_assert(TileType::kRows == kSide<Compute<S>> && TileType::kColumns == TileType::kRows);
    static_assert(sizeof(Memory) <= kSharedWithoutAsking);
    const dim3 grid(grid_of(plan.row_tiles), static_cast<unsigned>(plan.splits));
    FGSBIR_CHECK_CUDA(
        launch(search_tiles<S, TileType>, grid, kTileThreads, sizeof(Memory), stream, arguments));
}

template <typename S>
void launch_predictions(const void* logits, Compute<S>* out, int64_t rows, const Search& search,
                        bool of_gallery, cudaStream_t stream) {
    FGSBIR_CHECK_CUDA(launch(write_predictions<S>, grid_of(ceil_div(rows, kWarps)), kTileThreads, 0,
                             stream, static_cast<const S*>(logits), out, rows, search.attributes,
                             search.attribute_metric, of_gallery));
}

}  // namespace

int64_t topk_workspace(const Search& search) {
    return workspace_size(search.type, [&](auto s, Workspace& workspace) {
        SearchScratch<decltype(s)>(workspace, search, SearchPlan(search));
    });
}

void topk(const Search& search, void* values, int64_t* indices, void* memory, Stream stream) {
    if (search.k > kMaxTopK) throw std::invalid_argument("topk takes k <= 1024 on CUDA");
    if (search.m >= 0xffffffffll) throw std::runtime_error("topk takes at most 2^32 - 2 rows");
    if (search.n == 0 || search.k == 0) return;
    with_type(search.type, [&](auto type) {
        using S = decltype(type);
        using T = Compute<S>;
        const SearchPlan plan(search);
        Workspace workspace(memory);
        const SearchScratch<S> scratch(workspace, search, plan);

        Preparation preparation = {};
        preparation.type = search.type;
        preparation.d = search.d;
        preparation.inverse_norms = has_unit_rows(search.metric);
        preparation.a = {search.n, search.query, scratch.query_norms, {}, nullptr};
        preparation.b = {search.m, search.gallery, scratch.gallery_norms, {}, nullptr};
        prepare(preparation, stream);
        const bool with_attributes = SearchScratch<S>::with_attributes(search);
        if (with_attributes) {
            launch_predictions<S>(search.query_logits, scratch.query_predictions, search.n, search,
                                  false, stream);
            launch_predictions<S>(search.gallery_logits, scratch.gallery_predictions, search.m,
                                  search, true, stream);
        }

        SearchArguments<S> arguments = {};
        arguments.query = {static_cast<const S*>(search.query), search.n, search.d};
        arguments.gallery = {static_cast<const S*>(search.gallery), search.m, search.d};
        arguments.query_norms = scratch.query_norms;
        arguments.gallery_norms = scratch.gallery_norms;
        arguments.query_logits = static_cast<const S*>(search.query_logits);
        arguments.gallery_logits = static_cast<const S*>(search.gallery_logits);
        arguments.query_predictions = {scratch.query_predictions, search.n, scratch.width};
        arguments.gallery_predictions = {scratch.gallery_predictions, search.m, scratch.width};
        arguments.pools = scratch.pools;
        arguments.values = static_cast<T*>(values);
        arguments.indices = indices;
        arguments.mu = static_cast<T>(search.attribute_weight);
        arguments.with_attributes = with_attributes;
        arguments.metric = search.metric;
        arguments.attribute_metric = search.attribute_metric;
        arguments.k = static_cast<int>(search.k);
        arguments.pool = plan.pool;
        arguments.attributes = search.attributes;
        arguments.column_tiles = plan.column_tiles;
        arguments.tiles_per_split = plan.tiles_per_split;
        arguments.splits = plan.splits;
        const auto search_all = [&] {
            if constexpr (std::is_same_v<T, float>) {
                if (engine_for(search.type) != Engine::cuda_cores)
                    return launch_search<S, TensorTile<S, 64, 64>>(arguments, plan, stream);
            }
            launch_search<S, Tile<T, kSide<T>, kSide<T>>>(arguments, plan, stream);
        };
        search_all();
        FGSBIR_CHECK_CUDA(launch(merge_splits<S>, grid_of(search.n), kTileThreads,
                                 sizeof(MergeMemory<T>), stream, arguments));
    });
}

}  // namespace fgsbir::cuda
