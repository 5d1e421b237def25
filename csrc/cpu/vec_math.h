// exp and log1p of whole vectors, and the sigmoid and the softplus that the loss makes of them.
//
// float is computed by polynomials, to within two units in the last place; double lane by lane in
// the C library.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "vec.h"

namespace fgsbir::cpu {

// f of every lane of one vector, or of two. A loop marked `omp simd` becomes vectors once it stands
// in a function for a known instruction set; of a condition on GCC's own vectors GCC has made
// scalars by then (isa.h). Not for functions of <cmath>, whose vector versions round otherwise.
template <typename T, typename F>
FGSBIR_INLINE inline Vec<T> by_lane(Vec<T> x, const F& f) {
    alignas(64) T lanes[kLanes<T>];
    store(lanes, x);
#pragma omp simd
    for (int64_t l = 0; l < kLanes<T>; ++l) lanes[l] = f(lanes[l]);
    return load(lanes);
}

template <typename T, typename F>
FGSBIR_INLINE inline Vec<T> by_lane(Vec<T> x, Vec<T> y, const F& f) {
    alignas(64) T of_x[kLanes<T>], of_y[kLanes<T>];
    store(of_x, x);
    store(of_y, y);
#pragma omp simd
    for (int64_t l = 0; l < kLanes<T>; ++l) of_x[l] = f(of_x[l], of_y[l]);
    return load(of_x);
}

template <typename T>
FGSBIR_INLINE inline Vec<T> root_of(Vec<T> x) {
    return by_lane<T>(x, [](T v) FGSBIR_INLINE { return std::sqrt(v); });
}

FGSBIR_INLINE inline uint32_t bits_of(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    return bits;
}

// 2^n for n in [-126, 127].
FGSBIR_INLINE inline float power_of_two(uint32_t n) {
    const uint32_t bits = (n + 127u) << 23;
    float result;
    std::memcpy(&result, &bits, sizeof result);
    return result;
}

// exp(x) = factor * 2^exponent, for x in [-104, 88]. Coefficients: expf of Cephes (Moshier).
struct Exponential {
    float factor;
    uint32_t exponent;  // of a signed number

    FGSBIR_INLINE explicit Exponential(float x) {
        // Adding 1.5 * 2^23 leaves the nearest whole number in the lowest bits.
        const float shift = 12582912.0f;
        const float shifted = x * 1.44269504088896341f + shift;
        const float n = shifted - shift;
        const float r = x - n * 0.693359375f - n * -2.12194440e-4f;
        float y = r * 1.9875691500e-4f + 1.3981999507e-3f;
        y = y * r + 8.3334519073e-3f;
        y = y * r + 4.1665795894e-2f;
        y = y * r + 1.6666665459e-1f;
        y = y * r + 5.0000001201e-1f;
        factor = y * r * r + r + 1.0f;
        exponent = bits_of(shifted) - bits_of(shift);
    }
};

// exp(x) for x <= 0, with denormal results. A NaN stays one.
FGSBIR_INLINE inline float exp_of_negative(float x) {
    const Exponential y(x < -104.0f ? -104.0f : x);  // exp(-104) rounds to 0
    // In two steps, since 2^n alone is a denormal number below -126.
    const uint32_t minus_half = (0u - y.exponent) >> 1;
    return y.factor * power_of_two(0u - minus_half) * power_of_two(y.exponent + minus_half);
}

// log(1 + e) for e in [0, 1]: 2 atanh(s) with s = e / (2 + e), a polynomial in s^2 without a
// branch. Its first term is 2 s = e - s e, so that less than half of the rounding of s comes
// through.
FGSBIR_INLINE inline Vec<float> log_one_plus(Vec<float> e) {
    const Vec<float> s = e / (e + 2.0f), t = s * s;
    Vec<float> y = t * 2.8011984e-1f + 2.8001805e-1f;
    y = y * t + 4.0021527e-1f;
    y = y * t + 6.6666418e-1f;
    return e - s * (e - y * t);
}

// exp(-|x|).
FGSBIR_INLINE inline Vec<float> decay_of(Vec<float> x) {
    return by_lane<float>(x, [](float v) FGSBIR_INLINE { return exp_of_negative(v < 0 ? v : -v); });
}

FGSBIR_INLINE inline Vec<double> decay_of(Vec<double> x) {
    for (int64_t l = 0; l < kLanes<double>; ++l) x[l] = std::exp(-std::abs(x[l]));
    return x;
}

FGSBIR_INLINE inline Vec<double> log_one_plus(Vec<double> e) {
    for (int64_t l = 0; l < kLanes<double>; ++l) e[l] = std::log1p(e[l]);
    return e;
}

// 1 / (1 + exp(-x)), where decay = exp(-|x|).
template <typename T>
FGSBIR_INLINE inline Vec<T> sigmoid_of(Vec<T> x, Vec<T> decay) {
    return by_lane<T>(x, decay,
                      [](T v, T e) FGSBIR_INLINE { return (v >= 0 ? T(1) : e) / (e + 1); });
}

// 1 / (1 + exp(-x)), not below exp(-87), in fewer steps. A NaN stays one.
FGSBIR_INLINE inline Vec<float> quick_sigmoid_of(Vec<float> x) {
    // In loops of their own: GCC would divide once for each outcome of a comparison.
    x = by_lane<float>(x, [](float v) FGSBIR_INLINE { return v < -87.0f ? -87.0f : v; });
    x = by_lane<float>(x, [](float v) FGSBIR_INLINE { return v > 87.0f ? 87.0f : v; });
    return by_lane<float>(x, [](float v) FGSBIR_INLINE {
        const Exponential y(-v);
        return 1 / (1 + y.factor * power_of_two(y.exponent));
    });
}

FGSBIR_INLINE inline Vec<double> quick_sigmoid_of(Vec<double> x) {
    return sigmoid_of<double>(x, decay_of(x));
}

// log(1 + exp(x)), where decay = exp(-|x|). A NaN stays one.
template <typename T>
FGSBIR_INLINE inline Vec<T> softplus_of(Vec<T> x, Vec<T> decay) {
    return by_lane<T>(x, log_one_plus(decay),
                      [](T v, T log) FGSBIR_INLINE { return (v < 0 ? T(0) : v) + log; });
}

}  // namespace fgsbir::cpu
