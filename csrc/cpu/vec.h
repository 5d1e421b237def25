// A vector of 64 bytes: one register with AVX-512, two with AVX2, four with SSE or NEON.
#pragma once

#include <cstdint>
#include <cstring>

#include "isa.h"

namespace fgsbir::cpu {

template <typename T, int kBytes>
struct VectorOf {
    typedef T type __attribute__((vector_size(kBytes)));
    // Anywhere in memory. (A memcpy is split for the baseline before it meets wider registers.)
    typedef T in_memory __attribute__((vector_size(kBytes), aligned(sizeof(T))));
};
template <typename T>
using Vec = typename VectorOf<T, 64>::type;

template <typename T>
constexpr int64_t kLanes = 64 / sizeof(T);

template <int kBytes = 64, typename T>
FGSBIR_INLINE inline typename VectorOf<T, kBytes>::type load(const T* from) {
    return *reinterpret_cast<const typename VectorOf<T, kBytes>::in_memory*>(from);
}

template <typename T, typename V>
FGSBIR_INLINE inline void store(T* to, V v) {
    *reinterpret_cast<typename VectorOf<T, sizeof(V)>::in_memory*>(to) = v;
}

template <typename V, typename Index>
FGSBIR_INLINE inline V shuffled(V v, Index from) {
#if defined(__clang__)
    V result;
    for (int64_t l = 0; l < static_cast<int64_t>(sizeof v / sizeof v[0]); ++l) {
        result[l] = v[from[l]];
    }
    return result;
#else
    return __builtin_shuffle(v, from);
#endif
}

// Every lane l in the place of lane l ^ kDistance.
template <int kDistance>
FGSBIR_INLINE inline Vec<float> swapped(Vec<float> v) {
    typedef int32_t Index __attribute__((vector_size(64)));
    constexpr int d = kDistance;
    const Index from = {0 ^ d, 1 ^ d, 2 ^ d,  3 ^ d,  4 ^ d,  5 ^ d,  6 ^ d,  7 ^ d,
                        8 ^ d, 9 ^ d, 10 ^ d, 11 ^ d, 12 ^ d, 13 ^ d, 14 ^ d, 15 ^ d};
    return shuffled(v, from);
}

template <int kDistance>
FGSBIR_INLINE inline Vec<double> swapped(Vec<double> v) {
    typedef int64_t Index __attribute__((vector_size(64)));
    constexpr int d = kDistance;
    const Index from = {0 ^ d, 1 ^ d, 2 ^ d, 3 ^ d, 4 ^ d, 5 ^ d, 6 ^ d, 7 ^ d};
    return shuffled(v, from);
}

// combine() of all lanes, by halves, in one fixed order.
template <typename T, int kWidth = kLanes<T> / 2, typename Combine>
FGSBIR_INLINE inline T fold(Vec<T> v, const Combine& combine) {
    v = combine(v, swapped<kWidth>(v));
    if constexpr (kWidth == 1) {
        return v[0];
    } else {
        return fold<T, kWidth / 2>(v, combine);
    }
}

template <typename T>
FGSBIR_INLINE inline T sum(Vec<T> v) {
    return fold<T>(v, [](Vec<T> a, Vec<T> b) FGSBIR_INLINE { return a + b; });
}

// The smallest of all lanes; without NaN.
template <typename T>
FGSBIR_INLINE inline T lowest(Vec<T> v) {
    return fold<T>(v, [](Vec<T> a, Vec<T> b) FGSBIR_INLINE { return b < a ? b : a; });
}

// f at every kLanes-th of n elements, and tail at every element that fills no vector.
template <typename T, typename F, typename G>
FGSBIR_INLINE inline void by_vectors(int64_t n, const F& f, const G& tail) {
    int64_t k = 0;
    for (; k + kLanes<T> <= n; k += kLanes<T>) f(k);
    for (; k < n; ++k) tail(k);
}

// sum_k f(k), where f gives a vector of kLanes terms at k, and tail(k) the single term at k.
template <typename T, typename F, typename G>
FGSBIR_INLINE inline T sum_over(int64_t n, const F& f, const G& tail) {
    Vec<T> even = {}, odd = {};
    int64_t k = 0;
    for (; k + 2 * kLanes<T> <= n; k += 2 * kLanes<T>) {
        even += f(k);
        odd += f(k + kLanes<T>);
    }
    for (; k + kLanes<T> <= n; k += kLanes<T>) even += f(k);
    T total = sum<T>(even + odd);
    for (; k < n; ++k) total += tail(k);
    return total;
}

template <typename T>
FGSBIR_INLINE inline T squared_norm(const T* x, int64_t d) {
    return sum_over<T>(
        d,
        [=](int64_t k) FGSBIR_INLINE {
            const Vec<T> v = load(x + k);
            return v * v;
        },
        [=](int64_t k) FGSBIR_INLINE { return x[k] * x[k]; });
}

// |x * x_scale - y * y_scale|^2, from the differences themselves.
template <typename T>
FGSBIR_INLINE inline T squared_difference(const T* x, const T* y, int64_t d, T x_scale = 1,
                                          T y_scale = 1) {
    return sum_over<T>(
        d,
        [=](int64_t k) FGSBIR_INLINE {
            const Vec<T> v = load(x + k) * x_scale - load(y + k) * y_scale;
            return v * v;
        },
        [=](int64_t k) FGSBIR_INLINE {
            const T v = x[k] * x_scale - y[k] * y_scale;
            return v * v;
        });
}

}  // namespace fgsbir::cpu
