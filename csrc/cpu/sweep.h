// Distances from the inner products of a row, and the minimum of a block of them.
#pragma once

#include <cmath>
#include <cstdint>

#include "../ops.h"
#include "vec.h"

namespace fgsbir::cpu {

// The columns that are swept at once: few enough that a block which cannot hold a better score is
// often found, and passed over.
constexpr int64_t kBlock = 64;

// |x|^2 + |y|^2 - 2 x.y, or 1 - x.y / (|x| |y|); V is T or a vector. Rounding may leave it below 0,
// and of a euclidean distance it is the square.
template <typename V, typename T>
FGSBIR_INLINE inline V from_product(V product, Metric metric, T row_norm, V column_norm) {
    return metric == Metric::cosine ? 1 - product * row_norm * column_norm
                                    : row_norm + column_norm - 2 * product;
}

// Distances from inner products, not below 0.
template <typename T>
FGSBIR_INLINE inline void distances_of_block(const T* products, int64_t size, Metric metric,
                                             T row_norm, const T* column_norms, T* out) {
    for (int64_t j = 0; j < size; ++j) {
        const T distance = from_product(products[j], metric, row_norm, column_norms[j]);
        out[j] = distance < 0 ? T(0) : distance;
    }
    if (metric == Metric::euclidean) {
        for (int64_t j = 0; j < size; ++j) out[j] = std::sqrt(out[j]);
    }
}

// The smallest that distances_of_block computes for a whole block, without writing any. The norms
// must be finite (all_finite), so that nothing is NaN.
template <typename T>
FGSBIR_INLINE inline T nearest_in_block(const T* products /* [kBlock] */, Metric metric, T row_norm,
                                        const T* column_norms) {
    const auto distance = [&](int64_t j) FGSBIR_INLINE {
        return from_product(load(products + j), metric, row_norm, load(column_norms + j));
    };
    Vec<T> even = distance(0), odd = distance(kLanes<T>);
    for (int64_t j = 2 * kLanes<T>; j < kBlock; j += 2 * kLanes<T>) {
        const Vec<T> a = distance(j), b = distance(j + kLanes<T>);
        even = a < even ? a : even;
        odd = b < odd ? b : odd;
    }
    // Rounding keeps order, so what is left to do may be done to the smallest alone.
    const T smallest = lowest<T>(odd < even ? odd : even);
    const T clamped = smallest < 0 ? T(0) : smallest;
    return metric == Metric::euclidean ? std::sqrt(clamped) : clamped;
}

// Whether no sum of two of these norms overflows. Where one does, distances from products are
// infinite, or inf - inf, of their own making.
template <typename T>
FGSBIR_INLINE inline bool all_finite(const T* norms, int64_t n) {
    bool finite = true;
    for (int64_t j = 0; j < n; ++j) finite &= norms[j] * 4 - norms[j] * 4 == 0;
    return finite;
}

template <typename T>
struct Smallest {
    T value;
    bool has_nan;  // then value means nothing
};

template <typename T>
FGSBIR_INLINE inline Smallest<T> smallest_of(const T* values /* [kBlock] */) {
    Vec<T> smallest = load(values), zeros = {};
    for (int64_t j = 0; j < kBlock; j += kLanes<T>) {
        const Vec<T> v = load(values + j);
        smallest = v < smallest ? v : smallest;
        zeros += v == v ? Vec<T>{} : v;
    }
    return {lowest<T>(smallest), std::isnan(sum<T>(zeros))};
}

template <typename T>
int64_t first_equal(const T* values, T value) {
    int64_t j = 0;
    while (values[j] != value) ++j;
    return j;
}

template <typename T>
int64_t first_nan(const T* values) {
    int64_t j = 0;
    while (!std::isnan(values[j])) ++j;
    return j;
}

}  // namespace fgsbir::cpu
