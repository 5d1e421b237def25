// Pairwise distances from inner products, and their gradients.
//
// Forward: |x|^2 + |y|^2 - 2 x.y loses the digits that the two sides share, so an element is
// computed anew from its rows where the distance is small beside the norms (or where they
// overflow). Backward: sum_j w_j (x - y_j) is x sum_j w_j - sum_j w_j y_j, a product again; pairs
// for which it would cancel in the same way are left out of it and added as differences. Among
// unit vectors that spread out such pairs are rare; where all are near, this takes several times as
// long.

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "../ops.h"
#include "parallel.h"
#include "product.h"
#include "rows.h"
#include "sweep.h"
#include "vec_math.h"

namespace fgsbir::cpu {
namespace {

// A distance below this share of the norms is computed anew, so the relative error of every squared
// Euclidean distance stays within about 1 / kCancelling roundings.
constexpr double kCancelling = 1.0 / 16;

// Whether a product gives this distance, or what it is a root of, well.
template <typename T>
FGSBIR_INLINE inline bool is_far(T value, T magnitude) {
    return (value >= static_cast<T>(kCancelling) * magnitude) & (value - value == 0);
}

// The distances of a row to some others, from its products with them.
template <typename M, typename T>
FGSBIR_INLINE inline void write_block(const T* products, int64_t size, T norm, const T* norms,
                                      const T* x, const T* y, int64_t d, T* out) {
    Vec<T> near = {};
    int64_t j = 0;
    for (; j + kLanes<T> <= size; j += kLanes<T>) {
        const Vec<T> other = load(norms + j),
                     distance = M::from_product(load(products + j), norm, other);
        near += by_lane<T>(distance, M::magnitude(norm, other),
                           [](T v, T m) FGSBIR_INLINE { return is_far(v, m) ? T(0) : T(1); });
        store(out + j, M::kRoot ? root_of<T>(distance) : distance);
    }
    const int64_t whole = j;
    for (; j < size; ++j) {
        const T distance = M::from_product(products[j], norm, norms[j]);
        out[j] = M::kRoot ? std::sqrt(distance) : distance;
    }
    for (j = sum<T>(near) == 0 ? whole : 0; j < size; ++j) {
        const T distance = M::from_product(products[j], norm, norms[j]);
        if (is_far(distance, M::magnitude(norm, norms[j]))) continue;
        out[j] = embedding_distance<M>(x, y + j * d, d, norm, norms[j]);
    }
}

// --- Backward ------------------------------------------------------------------------------------

// Rows of x and of y that meet at once. Rows of slopes are so far apart that not all of a column
// fall on the same lines of a cache.
constexpr int64_t kTileRows = 4 * kGroup, kTileColumns = 256, kStride = kTileColumns + 16;

// A pair that the product does not serve.
template <typename T>
struct NearPair {
    int64_t row, column;  // from those of the tile
    T slope;
};

// What x_i - y_j is multiplied with, for a tile of pairs.
template <typename T>
struct Slopes {
    alignas(64) T far[kTileRows * kStride];  // 0 where the pair is near
    NearPair<T> near[kTileRows * kTileColumns];
    int64_t nears;
};

// grad and distance as they lie in memory, [rows, columns], and the norms of both.
template <typename T>
struct Pairs {
    const T* grad;
    const T* distance;
    int64_t columns;
    const T* row_norms;
    const T* column_norms;

    // A piece of a row: the slopes of far pairs. Those of near ones go to `near`; whether there are
    // any is returned.
    template <typename M>
    FGSBIR_INLINE bool split_slopes(int64_t row, int64_t column, int64_t size, T* far,
                                    T* near) const {
        const int64_t at = row * columns + column;
        const T *grads = grad + at, *distances = distance + at;
        const T own = row_norms[row], *others = column_norms + column;
#pragma omp simd
        for (int64_t c = 0; c < size; ++c) {
            const T d = distances[c], slope = M::slope(grads[c], d);
            const bool directed = !M::kUnitRows || ((own != 0) & (others[c] != 0));
            const bool turns = (d != 0) & directed;
            const bool served =
                is_far(M::kRoot ? d * d : d, M::magnitude(own, others[c])) & (slope - slope == 0);
            far[c] = (turns & served) ? slope : T(0);
            near[c] = (turns & !served) ? slope : T(0);
        }
        int32_t nears = 0;
#pragma omp simd reduction(+ : nears)
        for (int64_t c = 0; c < size; ++c) nears += near[c] != 0;
        return nears > 0;
    }
};

// The slopes of a tile whose rows are rows of x: rows of the matrix, or columns if transposed.
template <typename M, typename T>
FGSBIR_INLINE inline void write_slopes(const Pairs<T>& pairs, bool transposed, int64_t row,
                                       int64_t rows, int64_t column, int64_t columns,
                                       Slopes<T>& slopes) {
    alignas(64) T far[kTileColumns], near[kTileColumns];
    slopes.nears = 0;
    for (int64_t r = 0; !transposed && r < rows; ++r) {
        if (!pairs.template split_slopes<M>(row + r, column, columns, slopes.far + r * kStride,
                                            near))
            continue;
        for (int64_t c = 0; c < columns; ++c) {
            if (near[c] != 0) slopes.near[slopes.nears++] = {r, c, near[c]};
        }
    }
    for (int64_t c = 0; transposed && c < columns; ++c) {
        const bool any = pairs.template split_slopes<M>(column + c, row, rows, far, near);
        for (int64_t r = 0; r < rows; ++r) slopes.far[r * kStride + c] = far[r];
        for (int64_t r = 0; any && r < rows; ++r) {
            if (near[r] != 0) slopes.near[slopes.nears++] = {r, c, near[r]};
        }
    }
}

// Rows of y, by their scales, as panels of a product over them: panel[j, k] = y[j, first + k].
template <typename T>
void pack_rows(const T* y, const T* scales, int64_t rows, int64_t d, int64_t first, T* panel) {
    const int64_t size = std::min(kPanel<T>, d - first);
    for (int64_t j = 0; j < rows; ++j, panel += kPanel<T>) {
        const T scale = scales == nullptr ? T(1) : scales[j];
        for (int64_t k = 0; k < size; ++k) panel[k] = y[j * d + first + k] * scale;
        std::fill(panel + size, panel + kPanel<T>, T(0));
    }
}

template <typename T>
FGSBIR_INLINE inline T sum_of(const T* x, int64_t n) {
    return sum_over<T>(
        n, [=](int64_t k) FGSBIR_INLINE { return load(x + k); },
        [=](int64_t k) FGSBIR_INLINE { return x[k]; });
}

// grad += share * x - others.
template <typename T>
FGSBIR_INLINE inline void add_share(const T* x, T share, const T* others, int64_t d, T* grad) {
    by_vectors<T>(
        d,
        [=](int64_t k) FGSBIR_INLINE {
            store(grad + k, load(grad + k) + (share * load(x + k) - load(others + k)));
        },
        [=](int64_t k) FGSBIR_INLINE { grad[k] += share * x[k] - others[k]; });
}

// Turns the gradient of x / |x| into that of x: only what is across x remains, over |x|.
template <typename T>
FGSBIR_INLINE inline void turn_only(const T* x, T scale, T* grad, int64_t d) {
    T along = 0;
    for (int64_t k = 0; k < d; ++k) along += x[k] * scale * grad[k];
    for (int64_t k = 0; k < d; ++k) grad[k] = scale * (grad[k] - x[k] * scale * along);
}

template <typename M, typename T>
void gradient(const T* grad, const T* distance, const T* x, const T* y, T* grad_x, int64_t n,
              int64_t m, int64_t d, Metric metric, bool transposed, int threads) {
    std::vector<T> x_norms(n), y_norms(m);
    norms(x, x_norms.data(), n, d, metric, threads);
    norms(y, y_norms.data(), m, d, metric, threads);
    const Pairs<T> pairs{grad, distance, transposed ? n : m,
                         transposed ? y_norms.data() : x_norms.data(),
                         transposed ? x_norms.data() : y_norms.data()};
    const auto x_scale = [&](int64_t i) FGSBIR_INLINE { return M::kUnitRows ? x_norms[i] : T(1); };
    const auto y_scale = [&](int64_t j) FGSBIR_INLINE { return M::kUnitRows ? y_norms[j] : T(1); };

    const int64_t panels = (d + kPanel<T> - 1) / kPanel<T>, width = panels * kPanel<T>;
    const int64_t parts = std::clamp<int64_t>(n * m / 4096, 1, threads);
    const Scratch<T> packed(std::min(kTileColumns, m) * width), all_sums(parts * kGroup * width);
    const Scratch<Slopes<T>> all_slopes(parts);
    std::fill_n(grad_x, n * d, T(0));
#pragma omp parallel num_threads(static_cast<int>(parts)) if (parts > 1)
    {
        const int64_t part = omp_get_thread_num(), team = omp_get_num_threads();
        T* const sums = all_sums.data() + part * kGroup * width;
        Slopes<T>& slopes = all_slopes.data()[part];
        for (int64_t column = 0; column < m; column += kTileColumns) {
            const int64_t columns = std::min(kTileColumns, m - column);
            const T* const others = y + column * d;
#pragma omp for schedule(static)
            for (int64_t p = 0; p < panels; ++p) {
                pack_rows(others, M::kUnitRows ? y_norms.data() + column : nullptr, columns, d,
                          p * kPanel<T>, packed.data() + p * columns * kPanel<T>);
            }
            run([&]() FGSBIR_INLINE {
                const int64_t end = n * (part + 1) / team;
                for (int64_t row = n * part / team; row < end; row += kTileRows) {
                    const int64_t rows = std::min(kTileRows, end - row);
                    write_slopes<M>(pairs, transposed, row, rows, column, columns, slopes);
                    for (int64_t r = 0; r < rows; r += kGroup) {
                        const int64_t group = std::min(kGroup, rows - r);
                        const T* weights = slopes.far + r * kStride;
                        multiply_packed(weights, kStride, group, columns, packed.data(), panels,
                                        sums, width, false);
                        for (int64_t i = 0; i < group; ++i) {
                            add_share(x + (row + r + i) * d,
                                      x_scale(row + r + i) * sum_of(weights + i * kStride, columns),
                                      sums + i * width, d, grad_x + (row + r + i) * d);
                        }
                    }
                    for (int64_t p = 0; p < slopes.nears; ++p) {
                        const NearPair<T>& pair = slopes.near[p];
                        const int64_t i = row + pair.row, j = column + pair.column;
                        add_difference(x + i * d, y + j * d, d, pair.slope, grad_x + i * d,
                                       x_scale(i), y_scale(j));
                    }
                }
            });
#pragma omp barrier
        }
    }
    if (!M::kUnitRows) return;
    parallel_rows(n, grain_of(4 * d), threads, [&](int64_t i) FGSBIR_INLINE {
        turn_only(x + i * d, x_norms[i], grad_x + i * d, d);
    });
}

}  // namespace

template <typename T>
void pairwise_distance(const T* x, const T* y, T* out, int64_t n, int64_t m, int64_t d,
                       Metric metric, int threads) {
    std::vector<T> x_norms(n);
    norms(x, x_norms.data(), n, d, metric, threads);
    ColumnNorms<T> y_norms(m, d, metric);
    const auto use = [&](int64_t i, int64_t column, int64_t columns,
                         Products<T, 1> products) FGSBIR_INLINE {
        for (int64_t at = 0; at < columns; at += kBlock) {
            const int64_t first = column + at;
            with_metric(metric, [=, &x_norms, &y_norms](auto of) FGSBIR_INLINE {
                write_block<decltype(of)>(products[0] + at, std::min(kBlock, columns - at),
                                          x_norms[i], y_norms.from(first), x + i * d, y + first * d,
                                          d, out + i * m + first);
            });
        }
    };
    Product<T, 1>({{{x, {y, d}}}}, n, m, threads).sweep(y_norms, use);
}

template <typename T>
void pairwise_distance_backward(const T* grad, const T* distance, const T* x, const T* y, T* grad_x,
                                int64_t n, int64_t m, int64_t d, Metric metric, bool transposed,
                                int threads) {
    with_metric(metric, [=](auto of) {
        gradient<decltype(of)>(grad, distance, x, y, grad_x, n, m, d, metric, transposed, threads);
    });
}

#define FGSBIR_INSTANTIATE(T)                                                                     \
    template void pairwise_distance(const T*, const T*, T*, int64_t, int64_t, int64_t, Metric,    \
                                    int);                                                         \
    template void pairwise_distance_backward(const T*, const T*, const T*, const T*, T*, int64_t, \
                                             int64_t, int64_t, Metric, bool, int);
FGSBIR_INSTANTIATE(float)
FGSBIR_INSTANTIATE(double)
#undef FGSBIR_INSTANTIATE

}  // namespace fgsbir::cpu
