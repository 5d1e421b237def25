// Distance d of two rows, and its gradients, as every operation on the CPU defines it.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "../ops.h"
#include "parallel.h"
#include "vec.h"

namespace fgsbir::cpu {

// 1 / |x|, or 0 for the zero vector, which has no direction. Where the square overflows it is NaN:
// 0 would hide that.
template <typename T>
FGSBIR_INLINE inline T inverse_norm(const T* x, int64_t d) {
    const T squared = squared_norm(x, d);
    if (squared == 0) return 0;
    return std::isinf(squared) ? std::numeric_limits<T>::quiet_NaN() : 1 / std::sqrt(squared);
}

// What distances of a row need beside its products: |x|^2, for cosine 1 / |x| or 0 for a zero row.
template <typename T>
FGSBIR_INLINE inline T norm_of(const T* x, int64_t d, Metric metric) {
    return metric == Metric::cosine ? inverse_norm(x, d) : squared_norm(x, d);
}

template <typename T>
void norms(const T* x /* [n, d] */, T* out /* [n] */, int64_t n, int64_t d, Metric metric,
           int threads) {
    parallel_rows(n, grain_of(d), threads,
                  [=](int64_t i) FGSBIR_INLINE { out[i] = norm_of(x + i * d, d, metric); });
}

// 1 - cos(x, y) as a sum of squared differences, with the inverse norms of both.
template <typename T>
FGSBIR_INLINE inline T cosine_distance(const T* x, const T* y, int64_t d, T x_scale, T y_scale) {
    if (x_scale == 0 || y_scale == 0) return 1 + 0 * (x_scale + y_scale);  // NaN for a NaN
    return squared_difference(x, y, d, x_scale, y_scale) / 2;
}

// d(x, y) as a sum of squared differences.
template <typename T>
FGSBIR_INLINE inline T embedding_distance(const T* x, const T* y, int64_t d, Metric metric) {
    if (metric == Metric::cosine) {
        return cosine_distance(x, y, d, inverse_norm(x, d), inverse_norm(y, d));
    }
    const T squared = squared_difference(x, y, d);
    return metric == Metric::sqeuclidean ? squared : std::sqrt(squared);
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

// grad_x += factor * d d(x, y) / dx, where distance = d(x, y). All three metrics are symmetric:
// with x and y exchanged it is the gradient of y.
template <typename T>
FGSBIR_INLINE inline void add_embedding_gradient(const T* x, const T* y, int64_t d, Metric metric,
                                                 T distance, T factor, T* grad_x) {
    if (distance == 0) return;
    if (metric != Metric::cosine) {
        const T slope = metric == Metric::sqeuclidean ? 2 * factor : factor / distance;
        return add_difference(x, y, d, slope, grad_x);
    }
    // d = |u|^2 / 2 with u = x/|x| - y/|y|; only the part of u across x turns x.
    const T x_scale = inverse_norm(x, d), y_scale = inverse_norm(y, d);
    if (x_scale == 0 || y_scale == 0) return;
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
    const T slope = factor * x_scale;
    by_vectors<T>(
        d,
        [=](int64_t k) FGSBIR_INLINE {
            const Vec<T> unit = load(x + k) * x_scale;
            const Vec<T> across = unit - load(y + k) * y_scale - unit * along;
            store(grad_x + k, load(grad_x + k) + slope * across);
        },
        [=](int64_t k) FGSBIR_INLINE {
            const T unit = x[k] * x_scale;
            grad_x[k] += slope * (unit - y[k] * y_scale - unit * along);
        });
}

template <typename T>
inline T sigmoid(T x) {
    const T e = std::exp(-std::abs(x));
    return (x >= 0 ? T(1) : e) / (1 + e);
}

// log(1 + exp(x)).
template <typename T>
inline T softplus(T x) {
    return (x > 0 ? x : T(0)) + std::log1p(std::exp(-std::abs(x)));
}

}  // namespace fgsbir::cpu
