// Distances between one row and another, and their gradients: what every operation here means by d
// and by D.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "../ops.h"
#include "vec.h"
#include "vec_math.h"

namespace fgsbir::cpu {

// 1 / |x|, or 0 for the zero vector, which has no direction. Where the square overflows it is NaN:
// 0 would hide that.
template <typename T>
FGSBIR_INLINE inline T inverse_norm(const T* x, int64_t d) {
    const T squared = squared_norm(x, d);
    if (squared == 0) return 0;
    return std::isinf(squared) ? std::numeric_limits<T>::quiet_NaN() : 1 / std::sqrt(squared);
}

// d(x, y) as a sum of squared differences.
template <typename T>
FGSBIR_INLINE inline T embedding_distance(const T* x, const T* y, int64_t d, Metric metric) {
    if (metric == Metric::cosine) {
        const T x_scale = inverse_norm(x, d), y_scale = inverse_norm(y, d);
        if (x_scale == 0 || y_scale == 0) return 1 + 0 * (x_scale + y_scale);  // NaN for a NaN
        return squared_difference(x, y, d, x_scale, y_scale) / 2;
    }
    const T squared = squared_difference(x, y, d);
    return metric == Metric::sqeuclidean ? squared : std::sqrt(squared);
}

// grad_x += factor * d d(x, y) / dx, where distance = d(x, y). All three metrics are symmetric:
// with x and y exchanged it is the gradient of y.
template <typename T>
FGSBIR_INLINE inline void add_embedding_gradient(const T* x, const T* y, int64_t d, Metric metric,
                                                 T distance, T factor, T* grad_x) {
    if (distance == 0) return;
    if (metric != Metric::cosine) {
        const T slope = metric == Metric::sqeuclidean ? 2 * factor : factor / distance;
        for (int64_t k = 0; k < d; ++k) grad_x[k] += slope * (x[k] - y[k]);
        return;
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
    for (int64_t k = 0; k < d; ++k) {
        const T unit = x[k] * x_scale;
        grad_x[k] += slope * (unit - y[k] * y_scale - unit * along);
    }
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

// The vectors that cover n elements of a row. The last one is moved back to end with the row, over
// elements that have been met, so that it is read and written like all others; a row shorter than
// a vector is copied.
template <typename T>
struct Part {
    int64_t at;          // where the vector begins
    int64_t begin, end;  // which of its lanes are new

    FGSBIR_INLINE Vec<T> load(const T* row) const {
        if (end == kLanes<T>) return cpu::load(row + at);
        Vec<T> v = {};
        std::memcpy(&v, row, end * sizeof(T));
        return v;
    }

    // Annotated attributes as 1, 0 and -1.
    FGSBIR_INLINE Vec<T> load_annotation(const int8_t* row) const {
        typedef int8_t Bytes __attribute__((vector_size(kLanes<T>)));
        Bytes bytes = {};
        if (end == kLanes<T>) {
            std::memcpy(&bytes, row + at, sizeof bytes);
        } else {
            std::memcpy(&bytes, row, end);
        }
        return __builtin_convertvector(bytes, Vec<T>);
    }

    FGSBIR_INLINE void add(T* row, Vec<T> step) const {
        const Vec<T> v = load(row) + only_new(step);
        if (end == kLanes<T>) return store(row + at, v);
        std::memcpy(row, &v, end * sizeof(T));
    }

    // 0 in the lanes that are not new.
    FGSBIR_INLINE Vec<T> only_new(Vec<T> v) const {
        if (begin == 0 && end == kLanes<T>) return v;
        Vec<T> lane;
        for (int64_t l = 0; l < kLanes<T>; ++l) lane[l] = static_cast<T>(l);
        const Vec<T> zero = {};
        v = lane < static_cast<T>(begin) ? zero : v;
        return lane < static_cast<T>(end) ? v : zero;
    }
};

template <typename T, typename F>
FGSBIR_INLINE inline void by_parts(int64_t n, const F& f) {
    const int64_t last = n - kLanes<T>;
    for (int64_t at = 0; at < n; at += kLanes<T>) {
        f(last < 0     ? Part<T>{0, 0, n}
          : at <= last ? Part<T>{at, 0, kLanes<T>}
                       : Part<T>{last, at - last, kLanes<T>});
    }
}

// D between the attribute probabilities predicted for a sketch (logits a) and a photo (logits b).
template <typename T>
FGSBIR_INLINE inline T predicted_distance(const T* a, const T* b, int64_t k,
                                          AttributeMetric metric) {
    Vec<T> total = {};
    if (metric == AttributeMetric::cross_entropy) {
        by_parts<T>(k, [&](const Part<T>& part) FGSBIR_INLINE {
            const Vec<T> p = sigmoid_of(part.load(a)), logit = part.load(b);
            total += part.only_new(p * softplus_of(-logit) + (1 - p) * softplus_of(logit));
        });
        return k == 0 ? T(0) : sum<T>(total) / static_cast<T>(k);
    }
    by_parts<T>(k, [&](const Part<T>& part) FGSBIR_INLINE {
        const Vec<T> difference = sigmoid_of(part.load(a)) - sigmoid_of(part.load(b));
        total += part.only_new(difference * difference);
    });
    return metric == AttributeMetric::sqeuclidean ? sum<T>(total) : std::sqrt(sum<T>(total));
}

// grad_own += factor * dD/d own, where own and other are the logits of the sketch and of the photo,
// or the other way round with own_is_photo, and distance = D.
template <typename T>
FGSBIR_INLINE inline void add_predicted_gradient(const T* own, const T* other, int64_t k,
                                                 AttributeMetric metric, bool own_is_photo,
                                                 T distance, T factor, T* grad_own) {
    const bool entropy = metric == AttributeMetric::cross_entropy;
    if (!entropy && distance == 0) return;
    const T slope = entropy                                  ? factor / static_cast<T>(k)
                    : metric == AttributeMetric::sqeuclidean ? 2 * factor
                                                             : factor / distance;
    by_parts<T>(k, [&](const Part<T>& part) FGSBIR_INLINE {
        const Vec<T> p = sigmoid_of(part.load(own)), to = part.load(other);
        const Vec<T> step = !entropy       ? slope * (p - sigmoid_of(to)) * p * (1 - p)
                            : own_is_photo ? slope * (p - sigmoid_of(to))
                                           : -slope * to * p * (1 - p);
        part.add(grad_own, step);
    });
}

// L_p: binary cross-entropy of logits against an annotation, mean over the known attributes.
template <typename T>
FGSBIR_INLINE inline T prediction_loss(const T* logits, const int8_t* attributes, int64_t k) {
    Vec<T> total = {};
    int64_t known = 0;
    for (int64_t i = 0; i < k; ++i) known += attributes[i] >= 0;
    by_parts<T>(k, [&](const Part<T>& part) FGSBIR_INLINE {
        const Vec<T> logit = part.load(logits), zero = {};
        const Vec<T> annotation = part.load_annotation(attributes);
        const Vec<T> loss = softplus_of(annotation == 0 ? logit : -logit);
        total += part.only_new(annotation < 0 ? zero : loss);
    });
    return known == 0 ? T(0) : sum<T>(total) / static_cast<T>(known);
}

// grad += factor * dL_p/d logits.
template <typename T>
FGSBIR_INLINE inline void add_prediction_gradient(const T* logits, const int8_t* attributes,
                                                  int64_t k, T factor, T* grad) {
    int64_t known = 0;
    for (int64_t i = 0; i < k; ++i) known += attributes[i] >= 0;
    if (known == 0) return;
    factor /= static_cast<T>(known);
    by_parts<T>(k, [&](const Part<T>& part) FGSBIR_INLINE {
        const Vec<T> annotation = part.load_annotation(attributes), zero = {};
        const Vec<T> p = sigmoid_of(part.load(logits));
        const Vec<T> step = annotation < 0 ? zero : factor * (p - annotation);
        part.add(grad, step);
    });
}

}  // namespace fgsbir::cpu
