// Distances from the inner products of a row, and the minimum of a block of them.
#pragma once

#include <cmath>
#include <cstdint>

#include "metric.h"
#include "vec.h"

namespace fgsbir::cpu {

// The columns that are swept at once: few enough that a block which cannot hold a better score is
// often found, and passed over.
constexpr int64_t kBlock = 64;

// Distances from inner products, not below 0.
template <typename T>
FGSBIR_INLINE inline void distances_of_block(const T* products, int64_t size, Metric metric,
                                             T row_norm, const T* column_norms, T* out) {
    with_metric(metric, [=](auto of) FGSBIR_INLINE {
        using M = decltype(of);
        for (int64_t j = 0; j < size; ++j) {
            const T distance = M::from_product(products[j], row_norm, column_norms[j]);
            out[j] = distance < 0 ? T(0) : distance;
        }
        for (int64_t j = 0; M::kRoot && j < size; ++j) out[j] = std::sqrt(out[j]);
    });
}

// The smallest that distances_of_block computes for a whole block, without writing any. The norms
// must be finite (all_finite), so that nothing is NaN.
template <typename T>
FGSBIR_INLINE inline T nearest_in_block(const T* products /* [kBlock] */, Metric metric, T row_norm,
                                        const T* column_norms) {
    return with_metric(metric, [=](auto of) FGSBIR_INLINE {
        using M = decltype(of);
        const auto distance = [=](int64_t j) FGSBIR_INLINE {
            return M::from_product(load(products + j), row_norm, load(column_norms + j));
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
        return M::kRoot ? std::sqrt(clamped) : clamped;
    });
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
