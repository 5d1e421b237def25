// Distance d of two rows, and its gradients, as every operation on the CPU defines it.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "metric.h"
#include "parallel.h"
#include "vec.h"

namespace fgsbir::cpu {

// 1 / |x| of |x|^2, or 0 for the zero vector, which has no direction. Where the square overflows it
// is NaN: 0 would hide that.
template <typename T>
FGSBIR_INLINE inline T inverse_root(T squared) {
    if (squared == 0) return 0;
    return std::isinf(squared) ? std::numeric_limits<T>::quiet_NaN() : 1 / std::sqrt(squared);
}

template <typename T>
FGSBIR_INLINE inline T inverse_norm(const T* x, int64_t d) {
    return inverse_root(squared_norm(x, d));
}

// What a metric needs of a row beside products: its squared norm, or the inverse one.
template <typename M, typename T>
FGSBIR_INLINE inline T norm_of(const T* x, int64_t d) {
    return M::kUnitRows ? inverse_norm(x, d) : squared_norm(x, d);
}

template <typename T>
FGSBIR_INLINE inline T norm_of(const T* x, int64_t d, Metric metric) {
    return with_metric(metric, [=](auto of) FGSBIR_INLINE { return norm_of<decltype(of)>(x, d); });
}

template <typename T>
void norms(const T* x /* [n, d] */, T* out /* [n] */, int64_t n, int64_t d, Metric metric,
           int threads) {
    parallel_rows(n, grain_of(d), threads,
                  [=](int64_t i) FGSBIR_INLINE { out[i] = norm_of(x + i * d, d, metric); });
}

// d(x, y) as a sum of squared differences. The norms are read where rows are divided by them.
template <typename M, typename T>
FGSBIR_INLINE inline T embedding_distance(const T* x, const T* y, int64_t d, T x_norm, T y_norm) {
    const T squared =
        M::kUnitRows ? squared_difference(x, y, d, x_norm, y_norm) : squared_difference(x, y, d);
    return M::from_square(squared, x_norm, y_norm);
}

template <typename T>
FGSBIR_INLINE inline T embedding_distance(const T* x, const T* y, int64_t d, Metric metric) {
    return with_metric(metric, [=](auto of) FGSBIR_INLINE {
        using M = decltype(of);
        const T x_norm = M::kUnitRows ? inverse_norm(x, d) : T(1);
        const T y_norm = M::kUnitRows ? inverse_norm(y, d) : T(1);
        return embedding_distance<M>(x, y, d, x_norm, y_norm);
    });
}

// The same as a call, for rare uses.
template <typename T>
FGSBIR_NOINLINE T rare_embedding_distance(const T* x, const T* y, int64_t d, Metric metric) {
    T distance;
    run([&]() FGSBIR_INLINE { distance = embedding_distance(x, y, d, metric); });
    return distance;
}

// grad += slope * (x * x_scale - y * y_scale).
template <typename T>
FGSBIR_INLINE inline void add_difference(const T* x, const T* y, int64_t d, T slope, T* grad,
                                         T x_scale = 1, T y_scale = 1) {
    by_vectors<T>(
        d,
        [=](int64_t k) FGSBIR_INLINE {
            const Vec<T> difference = load(x + k) * x_scale - load(y + k) * y_scale;
            store(grad + k, load(grad + k) + slope * difference);
        },
        [=](int64_t k) FGSBIR_INLINE { grad[k] += slope * (x[k] * x_scale - y[k] * y_scale); });
}

// grad += slope * (u - v - u (u, u - v)), where u = x / |x| and v = y / |y|: only the part of u - v
// across x turns x. The scales are inverse norms.
template <typename T>
FGSBIR_INLINE inline void add_difference_across(const T* x, const T* y, int64_t d, T slope, T* grad,
                                                T x_scale, T y_scale) {
    const T along = sum_over<T>(
        d,
        [=](int64_t k) FGSBIR_INLINE {
            const Vec<T> unit = load(x + k) * x_scale;
            return unit * (unit - load(y + k) * y_scale);
        },
        [=](int64_t k) FGSBIR_INLINE {
            const T unit = x[k] * x_scale;
            return unit * (unit - y[k] * y_scale);
        });
    by_vectors<T>(
        d,
        [=](int64_t k) FGSBIR_INLINE {
            const Vec<T> unit = load(x + k) * x_scale;
            const Vec<T> across = unit - load(y + k) * y_scale - unit * along;
            store(grad + k, load(grad + k) + slope * across);
        },
        [=](int64_t k) FGSBIR_INLINE {
            const T unit = x[k] * x_scale;
            grad[k] += slope * (unit - y[k] * y_scale - unit * along);
        });
}

// grad_x += factor * d d(x, y) / dx, where distance = d(x, y). Every metric is symmetric: with x
// and y exchanged it is the gradient of y.
template <typename T>
FGSBIR_INLINE inline void add_embedding_gradient(const T* x, const T* y, int64_t d, Metric metric,
                                                 T distance, T factor, T* grad_x) {
    if (distance == 0) return;
    with_metric(metric, [=](auto of) FGSBIR_INLINE {
        using M = decltype(of);
        const T slope = M::slope(factor, distance);
        if constexpr (M::kUnitRows) {
            const T x_scale = inverse_norm(x, d), y_scale = inverse_norm(y, d);
            if (x_scale == 0 || y_scale == 0) return;
            add_difference_across(x, y, d, slope * x_scale, grad_x, x_scale, y_scale);
        } else {
            add_difference(x, y, d, slope, grad_x);
        }
    });
}

}  // namespace fgsbir::cpu
