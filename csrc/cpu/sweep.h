// What mining and search do to one block of a row of products: distances, then a minimum.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "../ops.h"
#include "vec.h"

namespace fgsbir::cpu {

// The columns that are swept at once: few enough that a block which cannot hold a better score is
// often found, and passed over.
constexpr int64_t kBlock = 64;

// Distances from inner products: |x|^2 + |y|^2 - 2 x.y, or 1 - x.y / (|x| |y|), not below 0.
template <typename T>
FGSBIR_INLINE inline void distances_of_block(const T* products, int64_t size, Metric metric,
                                             T row_norm, const T* column_norms, T* out) {
    if (metric == Metric::cosine) {
        for (int64_t j = 0; j < size; ++j) out[j] = 1 - products[j] * row_norm * column_norms[j];
    } else {
        for (int64_t j = 0; j < size; ++j) out[j] = row_norm + column_norms[j] - 2 * products[j];
    }
    for (int64_t j = 0; j < size; ++j) out[j] = out[j] < 0 ? T(0) : out[j];
    if (metric == Metric::euclidean) {
        for (int64_t j = 0; j < size; ++j) out[j] = std::sqrt(out[j]);
    }
}

// The smallest that distances_of_block computes for a whole block, without writing any. The norms
// must be finite (all_finite), so that nothing is NaN.
template <typename T>
FGSBIR_INLINE inline T nearest_in_block(const T* products /* [kBlock] */, Metric metric, T row_norm,
                                        const T* column_norms) {
    const Vec<T> own = Vec<T>{} + row_norm;
    const auto distance = [&](int64_t j) FGSBIR_INLINE {
        const Vec<T> product = load(products + j), norms = load(column_norms + j);
        return metric == Metric::cosine ? 1 - product * own * norms : own + norms - 2 * product;
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
