// exp and log1p of whole vectors, and the sigmoid and the softplus that the loss makes of them.
//
// float is computed by polynomials, to about one unit in the last place; double lane by lane in the
// C library. Coefficients: expf and logf of Cephes (Moshier).
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "vec.h"

namespace fgsbir::cpu {

typedef uint32_t Bits __attribute__((vector_size(64)));

FGSBIR_INLINE inline Bits bits_of(Vec<float> x) {
    Bits bits;
    std::memcpy(&bits, &x, sizeof bits);
    return bits;
}

// 2^n for n in [-126, 127].
FGSBIR_INLINE inline Vec<float> power_of_two(Bits n) {
    const Bits bits = (n + 127u) << 23;
    Vec<float> result;
    std::memcpy(&result, &bits, sizeof result);
    return result;
}

// exp(x) for x <= 0, with denormal results. A NaN stays one.
FGSBIR_INLINE inline Vec<float> exp_of_negative(Vec<float> x) {
    x = x < -104.0f ? Vec<float>{} - 104.0f : x;  // exp(-104) rounds to 0
    // Adding 1.5 * 2^23 leaves the nearest whole number in the lowest bits.
    const Vec<float> shift = Vec<float>{} + 12582912.0f;
    const Vec<float> shifted = x * 1.44269504088896341f + shift;
    const Vec<float> n = shifted - shift;
    const Vec<float> r = x - n * 0.693359375f - n * -2.12194440e-4f;
    Vec<float> y = r * 1.9875691500e-4f + 1.3981999507e-3f;
    y = y * r + 8.3334519073e-3f;
    y = y * r + 4.1665795894e-2f;
    y = y * r + 1.6666665459e-1f;
    y = y * r + 5.0000001201e-1f;
    y = y * r * r + r + 1.0f;
    // In two steps, since 2^n alone is a denormal number below -126.
    const Bits whole = bits_of(shifted) - bits_of(shift);
    const Bits minus_half = (0u - whole) >> 1;
    return y * power_of_two(0u - minus_half) * power_of_two(whole + minus_half);
}

// log(1 + e) for e in [0, 1].
FGSBIR_INLINE inline Vec<float> log_one_plus(Vec<float> e) {
    const Vec<float> u = e + 1.0f;
    const Vec<float> lost = (e - (u - 1.0f)) / u;  // of e, by rounding u
    const auto big = u > 1.41421356f;
    const Vec<float> f = (big ? u * 0.5f : u) - 1.0f;
    Vec<float> y = f * 7.0376836292e-2f + -1.1514610310e-1f;
    y = y * f + 1.1676998740e-1f;
    y = y * f + -1.2420140846e-1f;
    y = y * f + 1.4249322787e-1f;
    y = y * f + -1.6668057665e-1f;
    y = y * f + 2.0000714765e-1f;
    y = y * f + -2.4999993993e-1f;
    y = y * f + 3.3333331174e-1f;
    const Vec<float> zero = {};
    y = y * f * f * f + (big ? zero - 2.12194440e-4f : zero) - f * f * 0.5f;
    return f + y + (big ? zero + 0.693359375f : zero) + lost;
}

FGSBIR_INLINE inline Vec<double> exp_of_negative(Vec<double> x) {
    for (int64_t l = 0; l < kLanes<double>; ++l) x[l] = std::exp(x[l]);
    return x;
}

FGSBIR_INLINE inline Vec<double> log_one_plus(Vec<double> e) {
    for (int64_t l = 0; l < kLanes<double>; ++l) e[l] = std::log1p(e[l]);
    return e;
}

template <typename V>
FGSBIR_INLINE inline V minus_absolute(V x) {
    return x < 0 ? x : -x;
}

// 1 / (1 + exp(-x)).
template <typename V>
FGSBIR_INLINE inline V sigmoid_of(V x) {
    const V e = exp_of_negative(minus_absolute(x)), zero = {};
    return (x >= 0 ? zero + 1 : e) / (e + 1);
}

// log(1 + exp(x)). A NaN stays one.
template <typename V>
FGSBIR_INLINE inline V softplus_of(V x) {
    const V zero = {};
    return (x < 0 ? zero : x) + log_one_plus(exp_of_negative(minus_absolute(x)));
}

}  // namespace fgsbir::cpu
