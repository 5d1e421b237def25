// What mining and search do to one block of a row of products: distances, then a minimum.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "../ops.h"
#include "vec.h"

namespace fgsbir::cpu {

// The columns that are swept at once: small enough to stay in the first-level cache with what is
// computed from them.
constexpr int64_t kBlock = 256;

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
    Vec<T> smallest = load(values);
    auto ordered = smallest == smallest;
    for (int64_t j = kLanes<T>; j < kBlock; j += kLanes<T>) {
        const Vec<T> v = load(values + j);
        smallest = v < smallest ? v : smallest;
        ordered &= v == v;
    }
    Smallest<T> result{smallest[0], false};
    for (int64_t l = 0; l < kLanes<T>; ++l) {
        if (smallest[l] < result.value) result.value = smallest[l];
        if (!ordered[l]) result.has_nan = true;
    }
    return result;
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
