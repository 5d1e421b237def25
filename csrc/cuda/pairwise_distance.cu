// The distance of all pairs of rows, and its gradients.
//
// Forward, on tensor cores: tiles of inner products (engine.h). A distance below 1/16 of the
// squared norms has lost digits to cancellation, and one that is NaN or infinite may have
// overflowed on the way: a warp computes those anew from the rows, so that the relative error stays
// bounded everywhere. On CUDA cores: tiles (tile.cuh) that sum squared differences directly, twice
// the arithmetic of inner products and none of their cancellation; of unit vectors where a metric
// has them. Memory traffic: the operands once a tile, the output once.
//
// Backward: tiles of (row of x, dimension), summed over the rows of y in ascending order: the step
// is g * (x - y), with g the incoming gradient times the derivative of the distance by the
// difference. The gradient of y is the same with everything exchanged. For cosine that is the
// gradient of the unit vectors; one more launch takes it through the normalisation.
//
// Limits: the size of the grid.

#include "metric.cuh"
#include "prepare.h"
#include "tensor_engines.cuh"

namespace fgsbir::cuda {
namespace {

constexpr int kSide = 64;
// Blocks to fit on a multiprocessor: two have 128 registers a thread each, too few for float64.
template <typename S>
constexpr int kBlocks = sizeof(S) == 8 ? 1 : 2;

// The tiles of a matrix, along one axis of the grid.
template <int kRows = kSide, int kColumns = kSide>
struct TileGrid {
    unsigned columns;

    explicit TileGrid(int64_t width) : columns(grid_of(ceil_div(width, kColumns))) {}
    unsigned blocks(int64_t height) const {
        return grid_of(int64_t(columns) * ceil_div(height, kRows));
    }
    __device__ int64_t row() const { return int64_t(blockIdx.x / columns) * kRows; }
    __device__ int64_t column() const { return int64_t(blockIdx.x % columns) * kColumns; }
};

// --- Forward -------------------------------------------------------------------------------------

template <typename S>
__global__ void __launch_bounds__(kTileThreads, kBlocks<S>)
    distances(const ScaledRows<S> x /* [n, d] */, const ScaledRows<S> y /* [m, d] */,
              Compute<S>* distance /* [n, m] */, const Metric metric, const TileGrid<> grid) {
    using T = Compute<S>;
    using TileType = Tile<T, kSide, kSide>;
    auto& memory = shared_memory<typename TileType::Memory>();
    const int64_t first_row = grid.row(), first_column = grid.column();
    TileType tile;
    tile.accumulate(memory, x, first_row, y, first_column, x.width, SquaredDifference());
#pragma unroll
    for (int r = 0; r < TileType::kOwnRows; ++r) {
        const int64_t i = first_row + TileType::row(r);
#pragma unroll
        for (int c = 0; c < TileType::kOwnColumns; ++c) {
            const int64_t j = first_column + TileType::column(c);
            if (i >= x.rows || j >= y.rows) continue;
            distance[i * y.rows + j] =
                distance_of(tile.values[r][c], row_scale(x.scales, metric, i),
                            row_scale(y.scales, metric, j), metric);
        }
    }
}

template <typename S, typename TileType>
struct ProductArguments {
    Rows<S> x, y;                    // [n, d], [m, d]
    const float *x_norms, *y_norms;  // as metric.cuh has them
    float* distance;                 // [n, m]
    Metric metric;
    TileGrid<TileType::kRows, TileType::kColumns> grid;
};

// Writes the distances of this thread, and returns which of them are to be computed anew: bit
// r * kOwnColumns + c for values[r][c].
template <typename S, typename TileType>
__device__ inline unsigned long long write_from_products(const ProductArguments<S, TileType>& in,
                                                         const TileType& tile, int64_t first_row,
                                                         int64_t first_column) {
    static_assert(TileType::kOwnRows * TileType::kOwnColumns <= 64, "a bit for each");
    unsigned long long anew = 0;
#pragma unroll
    for (int r = 0; r < TileType::kOwnRows; ++r) {
        const int64_t i = first_row + TileType::row(r);
        if (i >= in.x.rows) continue;
        const float x_norm = in.x_norms[i];
#pragma unroll
        for (int c = 0; c < TileType::kOwnColumns; ++c) {
            const int64_t j = first_column + TileType::column(c);
            if (j >= in.y.rows) continue;
            const float y_norm = in.y_norms[j];
            const float unrooted = unrooted_distance(tile.values[r][c], x_norm, y_norm, in.metric);
            const float least =
                with_unrooted(in.metric, [=](auto of) { return of.magnitude(x_norm, y_norm); }) /
                16;
            const bool trusted = unrooted >= least && unrooted < INFINITY;
            if (!trusted) anew |= 1ull << (r * TileType::kOwnColumns + c);
            in.distance[i * in.y.rows + j] = has_root(in.metric) ? std::sqrt(unrooted) : unrooted;
        }
    }
    return anew;
}

template <typename S, typename TileType>
__device__ void write_tile(const ProductArguments<S, TileType>& in,
                           typename TileType::Memory& memory) {
    const int64_t first_row = in.grid.row(), first_column = in.grid.column();
    TileType tile;
    tile.accumulate(memory, in.x, first_row, in.y, first_column, in.x.width, Product());
    const unsigned long long anew =
        write_from_products<S, TileType>(in, tile, first_row, first_column);

    if (__ballot_sync(kFullMask, anew != 0) == 0) return;
    const int lane = threadIdx.x % kWarp;
#pragma unroll 1
    for (int pair = 0; pair < TileType::kOwnRows * TileType::kOwnColumns; ++pair) {
        const int r = pair / TileType::kOwnColumns, c = pair % TileType::kOwnColumns;
        const int64_t i = first_row + TileType::row(r), j = first_column + TileType::column(c);
        unsigned lanes = __ballot_sync(kFullMask, anew >> pair & 1);
        for (; lanes != 0; lanes &= lanes - 1) {
            const int owner = __ffs(static_cast<int>(lanes)) - 1;
            const int64_t x = first_row + TileType::row_of(owner, r);
            const int64_t y = first_column + TileType::column_of(owner, c);
            const float distance =
                distance_of_rows_by_warp(in.x.data + x * in.x.width, in.y.data + y * in.y.width,
                                         in.x.width, row_scale(in.x_norms, in.metric, x),
                                         row_scale(in.y_norms, in.metric, y), in.metric);
            if (lane == owner) in.distance[i * in.y.rows + j] = distance;
        }
    }
}

template <typename S, typename TileType>
__global__ void __launch_bounds__(kTileThreads, 2)
    distances_from_products(const ProductArguments<S, TileType> in) {
    if constexpr (TileType::kAvailable) {
        write_tile<S, TileType>(in, shared_memory<typename TileType::Memory>());
    } else {
        __trap();
    }
}

// --- Backward ------------------------------------------------------------------------------------

// The incoming gradient of pair (row, k) of one operand's row with row k of the other, times the
// derivative of the distance by the difference of the rows.
template <typename T, bool kTransposed>
struct Slopes {
    static constexpr bool kDepthContiguous = !kTransposed;
    const T* grad;          // [rows, others], or transposed
    const T* distance;      // as grad
    const T* other_scales;  // [others] inverse norms, where rows are units
    int64_t rows, others;
    Metric metric;

    __device__ T load(int64_t row, int64_t k, int more_rows, int more_k) const {
        row += more_rows;
        k += more_k;
        if (row >= rows || k >= others) return 0;
        const int64_t at = kTransposed ? k * rows + row : row * others + k;
        return with_metric(metric, [&](auto of) {
            // The distance to a zero vector is constant.
            if (of.kUnitRows && other_scales[k] == 0) return T(0);
            return of.slope(grad[at], distance[at]);
        });
    }
};

// The other operand, with its rows as the depth that is summed over.
template <typename S>
struct Columns {
    static constexpr bool kDepthContiguous = false;
    ScaledRows<S> of;

    __device__ Compute<S> load(int64_t dimension, int64_t k, int more_dimensions,
                               int more_k) const {
        return of.load(k, dimension, more_k, more_dimensions);
    }
};

// grad_own[i] = sum over k of slopes(i, k) * (own[i] - other[k]), in the type that `Out` is.
template <typename S, typename Out, bool kTransposed>
__global__ void __launch_bounds__(kTileThreads, kBlocks<S>)
    gradients(const Slopes<Compute<S>, kTransposed> slopes, const ScaledRows<S> own /* [n, d] */,
              const ScaledRows<S> other /* [m, d] */, Out* grad_own /* [n, d] */,
              const TileGrid<> grid) {
    using T = Compute<S>;
    using TileType = Tile<T, kSide, kSide>;
    auto& memory = shared_memory<typename TileType::Memory>();
    const int64_t first_row = grid.row(), first_column = grid.column();
    T values[TileType::kOwnRows][TileType::kOwnColumns];
#pragma unroll
    for (int r = 0; r < TileType::kOwnRows; ++r) {
#pragma unroll
        for (int c = 0; c < TileType::kOwnColumns; ++c) {
            values[r][c] = own.load(first_row, first_column, TileType::row(r), TileType::column(c));
        }
    }
    TileType tile;
    tile.accumulate(memory, slopes, first_row, Columns<S>{other}, first_column, other.rows,
                    [&](T& sum, T slope, T y, int r, int c) { sum += slope * (values[r][c] - y); });
#pragma unroll
    for (int r = 0; r < TileType::kOwnRows; ++r) {
        const int64_t i = first_row + TileType::row(r);
#pragma unroll
        for (int c = 0; c < TileType::kOwnColumns; ++c) {
            const int64_t k = first_column + TileType::column(c);
            if (i < own.rows && k < own.width)
                store(grad_own + i * own.width + k, tile.values[r][c]);
        }
    }
}

constexpr int kUnitWarps = 8;

// The gradient of rows, given that of their unit vectors: what lies across the row, over its norm.
template <typename S>
__global__ void __launch_bounds__(kUnitWarps* kWarp)
    gradients_through_norm(const ScaledRows<S> rows /* [n, d] */,
                           const Compute<S>* of_unit /* [n, d] */, S* grad /* [n, d] */) {
    using T = Compute<S>;
    const int64_t i = static_cast<int64_t>(blockIdx.x) * kUnitWarps + threadIdx.x / kWarp;
    if (i >= rows.rows) return;
    const int lane = threadIdx.x % kWarp;
    T along = 0;
    for (int64_t k = lane; k < rows.width; k += kWarp) {
        along += rows.load(i, k, 0, 0) * of_unit[i * rows.width + k];
    }
    along = warp_sum(along);
    for (int64_t k = lane; k < rows.width; k += kWarp) {
        const T across = of_unit[i * rows.width + k] - along * rows.load(i, k, 0, 0);
        store(grad + i * rows.width + k, across * rows.scales[i]);
    }
}

// --- Launches ------------------------------------------------------------------------------------

// Both operands, with inverse norms as their scales where rows are units.
template <typename S>
struct Operands {
    ScaledRows<S> x, y;
    Compute<S>*x_norms, *y_norms;  // as metric.cuh has them

    Operands(const void* x_data, const void* y_data, int64_t n, int64_t m, int64_t d, Metric metric,
             Workspace& workspace)
        : x{{static_cast<const S*>(x_data), n, d}, nullptr},
          y{{static_cast<const S*>(y_data), m, d}, nullptr},
          x_norms(workspace.take<Compute<S>>(n)),
          y_norms(workspace.take<Compute<S>>(m)) {
        if (!has_unit_rows(metric)) return;
        x.scales = x_norms;
        y.scales = y_norms;
    }

    void write_norms(ScalarType type, Metric metric, cudaStream_t stream) const {
        Preparation preparation = {};
        preparation.type = type;
        preparation.d = x.width;
        preparation.inverse_norms = has_unit_rows(metric);
        preparation.a = {x.rows, x.data, x_norms, {}, nullptr};
        preparation.b = {y.rows, y.data, y_norms, {}, nullptr};
        prepare(preparation, stream);
    }
};

template <typename S, typename TileType>
void launch_products(const Operands<S>& operands, float* distance, Metric metric,
                     cudaStream_t stream) {
    static DeviceSet allowed;
    constexpr size_t kShared = sizeof(typename TileType::Memory);
    static_assert(kShared <= TileType::kMostShared);
    const auto kernel = distances_from_products<S, TileType>;
    allow_shared(kernel, kShared, allowed);
    const TileGrid<TileType::kRows, TileType::kColumns> grid(operands.y.rows);
    const ProductArguments<S, TileType> arguments = {
        operands.x, operands.y, operands.x_norms, operands.y_norms, distance, metric, grid};
    FGSBIR_CHECK_CUDA(
        launch(kernel, grid.blocks(operands.x.rows), kTileThreads, kShared, stream, arguments));
}

template <typename S, bool kTransposed>
void launch_gradients(const void* grad, const void* distance, const ScaledRows<S>& own,
                      const ScaledRows<S>& other, Metric metric, Compute<S>* of_unit,
                      void* grad_own, cudaStream_t stream) {
    using T = Compute<S>;
    const Slopes<T, kTransposed> slopes = {static_cast<const T*>(grad),
                                           static_cast<const T*>(distance),
                                           other.scales,
                                           own.rows,
                                           other.rows,
                                           metric};
    const TileGrid<> grid(own.width);
    const size_t shared = sizeof(typename Tile<T, kSide, kSide>::Memory);
    S* out = static_cast<S*>(grad_own);
    if (!has_unit_rows(metric)) {
        FGSBIR_CHECK_CUDA(launch(gradients<S, S, kTransposed>, grid.blocks(own.rows), kTileThreads,
                                 shared, stream, slopes, own, other, out, grid));
        return;
    }
    FGSBIR_CHECK_CUDA(launch(gradients<S, T, kTransposed>, grid.blocks(own.rows), kTileThreads,
                             shared, stream, slopes, own, other, of_unit, grid));
    FGSBIR_CHECK_CUDA(launch(gradients_through_norm<S>, grid_of(ceil_div(own.rows, kUnitWarps)),
                             kUnitWarps * kWarp, 0, stream, own, of_unit, out));
}

}  // namespace

int64_t pairwise_distance_workspace(ScalarType type, int64_t n, int64_t m, Metric metric) {
    return workspace_size(type, [&](auto s, Workspace& workspace) {
        Operands<decltype(s)>(nullptr, nullptr, n, m, 0, metric, workspace);
    });
}

void pairwise_distance(ScalarType type, const void* x, const void* y, void* distance, int64_t n,
                       int64_t m, int64_t d, Metric metric, void* memory, Stream stream) {
    with_type(type, [&](auto s) {
        using S = decltype(s);
        using T = Compute<S>;
        Workspace workspace(memory);
        const Operands<S> operands(x, y, n, m, d, metric, workspace);
        if constexpr (std::is_same_v<T, float>) {
            if (const Engine engine = engine_for(type); engine != Engine::cuda_cores) {
                operands.write_norms(type, metric, stream);
                const bool large = fill_a_chip(n, m, kLargeRows, kLargeRows);
                return with_tensor_tile<S>(engine, large, [&](auto tag) {
                    launch_products<S, typename decltype(tag)::Type>(
                        operands, static_cast<float*>(distance), metric, stream);
                });
            }
        }
        if (has_unit_rows(metric)) operands.write_norms(type, metric, stream);
        const TileGrid<> grid(m);
        FGSBIR_CHECK_CUDA(launch(distances<S>, grid.blocks(n), kTileThreads,
                                 sizeof(typename Tile<T, kSide, kSide>::Memory), stream, operands.x,
                                 operands.y, static_cast<T*>(distance), metric, grid));
    });
}

int64_t pairwise_distance_backward_workspace(ScalarType type, int64_t n, int64_t m, int64_t d,
                                             Metric metric) {
    const int64_t forward = pairwise_distance_workspace(type, n, m, metric);
    return forward + workspace_size(type, [&](auto s, Workspace& workspace) {
               if (has_unit_rows(metric)) workspace.take<Compute<decltype(s)>>(std::max(n, m) * d);
           });
}

void pairwise_distance_backward(ScalarType type, const void* grad, const void* distance,
                                const void* x, const void* y, void* grad_x, void* grad_y, int64_t n,
                                int64_t m, int64_t d, Metric metric, void* memory, Stream stream) {
    with_type(type, [&](auto s) {
        using S = decltype(s);
        using T = Compute<S>;
        Workspace workspace(memory);
        const Operands<S> operands(x, y, n, m, d, metric, workspace);
        if (has_unit_rows(metric)) operands.write_norms(type, metric, stream);
        T* of_unit = has_unit_rows(metric) ? workspace.take<T>(std::max(n, m) * d) : nullptr;
        launch_gradients<S, false>(grad, distance, operands.x, operands.y, metric, of_unit, grad_x,
                                   stream);
        launch_gradients<S, true>(grad, distance, operands.y, operands.x, metric, of_unit, grad_y,
                                  stream);
    });
}

}  // namespace fgsbir::cuda
