// Pairwise distances from inner products, and their gradients.
//
// Forward: |x|^2 + |y|^2 - 2 x.y loses the digits that the two sides share, so an element is
// computed anew from its rows where the distance is small beside the norms (or where they
// overflow). Such pairs are rare: the cost is one sweep over the (n, m) matrix. Backward: sums of
// weighted differences, (n m d) operations and no temporary; the product form would cancel in the
// same way.

#include <algorithm>
#include <cmath>
#include <vector>

#include "../ops.h"
#include "parallel.h"
#include "product.h"
#include "rows.h"
#include "vec_math.h"

namespace fgsbir::cpu {
namespace {

// A distance below this share of the norms is computed anew, so the relative error of every squared
// distance stays within about 1 / kCancelling roundings.
constexpr double kCancelling = 1.0 / 16;

// Backward works on groups of rows against chunks of columns: a piece of the gradient of all rows
// of the group, a few vectors wide, stays in registers while the columns pass by.
constexpr int64_t kRows = 4, kColumns = 512;

// Whether a product gives this distance well; `scale` is |x|^2 + |y|^2, or 1 for cosine.
template <typename T>
FGSBIR_INLINE inline bool is_far(T value, T scale) {
    return (value >= static_cast<T>(kCancelling) * scale) & (value - value == 0);
}

// The distances of a row to some others, from its products with them.
template <typename T>
FGSBIR_INLINE inline void write_block(const T* products, int64_t size, Metric metric, T norm,
                                      const T* norms, const T* x, const T* y, int64_t d, T* out) {
    const bool cosine = metric == Metric::cosine, root = metric == Metric::euclidean;
    const auto scale = [=](auto other)
                           FGSBIR_INLINE { return cosine ? other * 0 + 1 : norm + other; };
    const auto value = [=](auto product, auto other) FGSBIR_INLINE {
        return cosine ? 1 - product * norm * other : norm + other - 2 * product;
    };
    Vec<T> near = {};
    int64_t j = 0;
    for (; j + kLanes<T> <= size; j += kLanes<T>) {
        const Vec<T> other = load(norms + j), distance = value(load(products + j), other);
        near += by_lane<T>(distance, scale(other),
                           [](T v, T s) FGSBIR_INLINE { return is_far(v, s) ? T(0) : T(1); });
        store(out + j, root ? root_of<T>(distance) : distance);
    }
    const int64_t whole = j;
    for (; j < size; ++j) {
        const T distance = value(products[j], norms[j]);
        out[j] = root ? std::sqrt(distance) : distance;
    }
    for (j = sum<T>(near) == 0 ? whole : 0; j < size; ++j) {
        if (is_far(value(products[j], norms[j]), scale(norms[j]))) continue;
        out[j] = embedding_distance(x, y + j * d, d, metric);
    }
}

// Rows of x and of y, and for cosine what makes them unit vectors; else the scales are null.
template <typename T>
struct Differences {
    const T* x;         // [n, d]
    const T* y;         // [m, d]
    const T* x_scales;  // [n]
    const T* y_scales;  // [m]
    int64_t n, m, d;

    FGSBIR_INLINE T x_scale(int64_t i) const { return x_scales == nullptr ? T(1) : x_scales[i]; }
    FGSBIR_INLINE T y_scale(int64_t j) const { return y_scales == nullptr ? T(1) : y_scales[j]; }
};

// grad_x[i, k:] += sum_j slopes[i, j] (x_i - y_j), kVectors vectors of it, for a group of rows and
// a chunk of columns.
template <int64_t kVectors, typename T>
FGSBIR_INLINE inline void add_differences(const Differences<T>& in, int64_t first, int64_t rows,
                                          int64_t column, int64_t columns, int64_t k,
                                          const T (&slopes)[kRows][kColumns], T* grad_x) {
    Vec<T> own[kRows][kVectors], total[kRows][kVectors] = {};
    for (int64_t r = 0; r < kRows; ++r) {
        const int64_t i = std::min(first + r, in.n - 1);
        for (int64_t v = 0; v < kVectors; ++v) {
            own[r][v] = load(in.x + i * in.d + k + v * kLanes<T>) * in.x_scale(i);
        }
    }
    for (int64_t c = 0; c < columns; ++c) {
        const T scale = in.y_scale(column + c);
        const T* other_row = in.y + (column + c) * in.d + k;
        for (int64_t v = 0; v < kVectors; ++v) {
            const Vec<T> other = load(other_row + v * kLanes<T>) * scale;
            for (int64_t r = 0; r < kRows; ++r) {
                total[r][v] += slopes[r][c] * (own[r][v] - other);
            }
        }
    }
    for (int64_t r = 0; r < rows; ++r) {
        for (int64_t v = 0; v < kVectors; ++v) {
            T* out = grad_x + (first + r) * in.d + k + v * kLanes<T>;
            store(out, load(out) + total[r][v]);
        }
    }
}

// The same for a single k.
template <typename T>
FGSBIR_INLINE inline void add_differences_at(const Differences<T>& in, int64_t first, int64_t rows,
                                             int64_t column, int64_t columns, int64_t k,
                                             const T (&slopes)[kRows][kColumns], T* grad_x) {
    for (int64_t r = 0; r < rows; ++r) {
        const int64_t i = first + r;
        const T own = in.x[i * in.d + k] * in.x_scale(i);
        T total = 0;
        for (int64_t c = 0; c < columns; ++c) {
            const int64_t j = column + c;
            total += slopes[r][c] * (own - in.y[j * in.d + k] * in.y_scale(j));
        }
        grad_x[i * in.d + k] += total;
    }
}

// Turns the gradient of x / |x| into that of x: only what is across x remains, over |x|.
template <typename T>
FGSBIR_INLINE inline void turn_only(const T* x, T scale, T* grad, int64_t d) {
    T along = 0;
    for (int64_t k = 0; k < d; ++k) along += x[k] * scale * grad[k];
    for (int64_t k = 0; k < d; ++k) grad[k] = scale * (grad[k] - x[k] * scale * along);
}

}  // namespace

template <typename T>
void norms(const T* x, T* out, int64_t n, int64_t d, Metric metric, int threads) {
    parallel_rows(n, grain_of(d), threads,
                  [=](int64_t i) FGSBIR_INLINE { out[i] = norm_of(x + i * d, d, metric); });
}

template <typename T>
void pairwise_distance(const T* x, const T* y, T* out, int64_t n, int64_t m, int64_t d,
                       Metric metric, int threads) {
    std::vector<T> x_norms(n);
    norms(x, x_norms.data(), n, d, metric, threads);
    ColumnNorms<T> y_norms(y, m, d, metric);
    const auto use = [&](int64_t i, int64_t column, int64_t columns,
                         Products<T, 1> products) FGSBIR_INLINE {
        for (int64_t at = 0; at < columns; at += kBlock) {
            const int64_t first = column + at;
            write_block(products[0] + at, std::min(kBlock, columns - at), metric, x_norms[i],
                        y_norms.from(first), x + i * d, y + first * d, d, out + i * m + first);
        }
    };
    Product<T, 1>({{{x, y, d}}}, n, m, threads).sweep(y_norms, use);
}

template <typename T>
void pairwise_distance_backward(const T* grad, const T* distance, const T* x, const T* y,
                                const T* x_scales, const T* y_scales, T* grad_x, int64_t n,
                                int64_t m, int64_t d, Metric metric, bool transposed, int threads) {
    const Differences<T> in{x, y, x_scales, y_scales, n, m, d};
    const int64_t row_stride = transposed ? 1 : m, column_stride = transposed ? n : 1;
    const int64_t groups = (n + kRows - 1) / kRows;

    parallel_rows(groups, grain_of(kRows * m * d), threads, [=](int64_t group) FGSBIR_INLINE {
        const int64_t first = group * kRows, rows = std::min(kRows, n - first);
        std::fill_n(grad_x + first * d, rows * d, T(0));
        T slopes[kRows][kColumns];
        for (int64_t column = 0; column < m; column += kColumns) {
            const int64_t columns = std::min(kColumns, m - column);
            for (int64_t r = 0; r < kRows; ++r) {
                const int64_t i = std::min(first + r, n - 1);
                for (int64_t c = 0; c < columns; ++c) {
                    const int64_t at = i * row_stride + (column + c) * column_stride;
                    const T far = distance[at];
                    const T slope = metric == Metric::sqeuclidean ? 2 * grad[at]
                                    : metric == Metric::euclidean ? grad[at] / far
                                                                  : grad[at];
                    const bool no_direction =
                        y_scales != nullptr && (x_scales[i] == 0 || y_scales[column + c] == 0);
                    slopes[r][c] = far == 0 || no_direction ? T(0) : slope;
                }
            }
            int64_t k = 0;
            for (; k + 2 * kLanes<T> <= d; k += 2 * kLanes<T>) {
                add_differences<2>(in, first, rows, column, columns, k, slopes, grad_x);
            }
            if (k + kLanes<T> <= d) {
                add_differences<1>(in, first, rows, column, columns, k, slopes, grad_x);
                k += kLanes<T>;
            }
            for (; k < d; ++k)
                add_differences_at(in, first, rows, column, columns, k, slopes, grad_x);
        }
        if (metric != Metric::cosine) return;
        for (int64_t i = first; i < first + rows; ++i) {
            turn_only(x + i * d, x_scales[i], grad_x + i * d, d);
        }
    });
}

#define FGSBIR_INSTANTIATE(T)                                                                  \
    template void norms(const T*, T*, int64_t, int64_t, Metric, int);                          \
    template void pairwise_distance(const T*, const T*, T*, int64_t, int64_t, int64_t, Metric, \
                                    int);                                                      \
    template void pairwise_distance_backward(const T*, const T*, const T*, const T*, const T*, \
                                             const T*, T*, int64_t, int64_t, int64_t, Metric,  \
                                             bool, int);
FGSBIR_INSTANTIATE(float)
FGSBIR_INSTANTIATE(double)
#undef FGSBIR_INSTANTIATE

}  // namespace fgsbir::cpu
