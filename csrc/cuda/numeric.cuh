// Scalars on the device: loading and storing every type, arithmetic that every operation shares.
#pragma once

#include <cmath>

#include "launch.h"

namespace fgsbir::cuda {

constexpr unsigned kFullMask = 0xffffffffu;
constexpr int kWarp = 32;

// The block's dynamic shared memory.
constexpr int kSharedAlignment = 512;
template <typename Memory>
__device__ inline Memory& shared_memory() {
    static_assert(alignof(Memory) <= kSharedAlignment);
    extern __shared__ __align__(512) unsigned char shared_bytes[];
    return *reinterpret_cast<Memory*>(shared_bytes);
}

// A value as a type, for functions that take it when they are compiled.
template <auto kValue>
using Constant = std::integral_constant<decltype(kValue), kValue>;

// --- Types ---------------------------------------------------------------------------------------

template <typename S>
struct ComputeTraits {
    using Type = float;
};
template <>
struct ComputeTraits<double> {
    using Type = double;
};
// The type that a type of embeddings is computed in.
template <typename S>
using Compute = typename ComputeTraits<S>::Type;

__device__ inline float to_compute(float x) {
    return x;
}
__device__ inline double to_compute(double x) {
    return x;
}
__device__ inline float to_compute(__half x) {
    return __half2float(x);
}
__device__ inline float to_compute(__nv_bfloat16 x) {
    return __bfloat162float(x);
}

__device__ inline void store(float* to, float x) {
    *to = x;
}
__device__ inline void store(double* to, double x) {
    *to = x;
}
__device__ inline void store(__half* to, float x) {
    *to = __float2half_rn(x);
}
__device__ inline void store(__nv_bfloat16* to, float x) {
    *to = __float2bfloat16_rn(x);
}

// Element i of an array whose type is known at run time only.
__device__ inline double load_scalar(const Array& array, int64_t i) {
    switch (array.type) {
        case ScalarType::float32:
            return static_cast<const float*>(array.data)[i];
        case ScalarType::float64:
            return static_cast<const double*>(array.data)[i];
        case ScalarType::float16:
            return to_compute(static_cast<const __half*>(array.data)[i]);
        case ScalarType::bfloat16:
            return to_compute(static_cast<const __nv_bfloat16*>(array.data)[i]);
        case ScalarType::int8:
            return static_cast<const int8_t*>(array.data)[i];
        case ScalarType::int16:
            return static_cast<const int16_t*>(array.data)[i];
        case ScalarType::int32:
            return static_cast<const int32_t*>(array.data)[i];
        case ScalarType::int64:
            return static_cast<double>(static_cast<const int64_t*>(array.data)[i]);
        case ScalarType::uint8:
            return static_cast<const uint8_t*>(array.data)[i];
    }
    return 0;
}

enum class Answer { unknown, no, yes };

// An annotated attribute. What is neither above nor equal to 0 is unknown, a NaN too.
__device__ inline Answer load_attribute(const Array& attributes, int64_t i) {
    const double value = load_scalar(attributes, i);
    return value > 0 ? Answer::yes : value == 0 ? Answer::no : Answer::unknown;
}

// --- Arithmetic ----------------------------------------------------------------------------------

// a + b c in two roundings, as tensor arithmetic has it, so that equal scores stay equal.
__device__ inline float add_scaled(float a, float b, float c) {
    return __fadd_rn(a, __fmul_rn(b, c));
}
__device__ inline double add_scaled(double a, double b, double c) {
    return __dadd_rn(a, __dmul_rn(b, c));
}

// a b, rounded before anything is added to it: equal rows, scaled, subtract to 0.
__device__ inline float product(float a, float b) {
    return __fmul_rn(a, b);
}
__device__ inline double product(double a, double b) {
    return __dmul_rn(a, b);
}

// Not fmax: a NaN stays one.
template <typename T>
__device__ inline T not_below_zero(T x) {
    return x < 0 ? T(0) : x;
}

// The sum over a warp, in every lane and in one fixed order.
template <typename T>
__device__ inline T warp_sum(T x) {
    for (int offset = kWarp / 2; offset > 0; offset /= 2) {
        x += __shfl_xor_sync(kFullMask, x, offset);
    }
    return x;
}

// The bits that any lane of a warp has, in every lane.
__device__ inline unsigned warp_or(unsigned x) {
    for (int offset = kWarp / 2; offset > 0; offset /= 2) {
        x |= __shfl_xor_sync(kFullMask, x, offset);
    }
    return x;
}

// Probability and its complement, each to full relative precision.
template <typename T>
struct Probability {
    T yes, no;
    __device__ T slope() const { return yes * no; }
};

template <typename T>
__device__ inline Probability<T> probability(T logit) {
    const T e = std::exp(-std::abs(logit));
    const T large = 1 / (1 + e), small = e / (1 + e);
    return logit < 0 ? Probability<T>{small, large} : Probability<T>{large, small};
}

// log(1 + exp(x)).
template <typename T>
__device__ inline T softplus(T x) {
    return (x > 0 ? x : x <= 0 ? T(0) : x) + std::log1p(std::exp(-std::abs(x)));
}

// --- Distances of two rows, one element at a time ------------------------------------------------

// What embeddings are multiplied with before they are subtracted: 1, for cosine the inverse norm.
template <typename T>
__device__ inline T row_scale(const T* inverse_norms, Metric metric, int64_t row) {
    return metric == Metric::cosine ? inverse_norms[row] : T(1);
}

// The distance, given the sum of squared differences of the scaled rows.
template <typename T>
__device__ inline T distance_of(T squared, T scale_x, T scale_y, Metric metric) {
    if (metric == Metric::sqeuclidean) return squared;
    if (metric == Metric::euclidean) return std::sqrt(squared);
    const bool zero_vector = scale_x == 0 || scale_y == 0;
    return zero_vector ? 1 + 0 * (scale_x + scale_y) : squared / 2;  // NaN for a NaN
}

// 1 / |x|, or 0 for the zero vector, which has no direction. Where the square overflows it is NaN:
// 0 would hide that.
template <typename T>
__device__ inline T inverse_norm_of(T squared) {
    if (squared == 0) return 0;
    return std::isinf(squared) ? static_cast<T>(NAN) : 1 / std::sqrt(squared);
}

// The distance of two rows, by one thread alone: where an inner product overflowed.
template <typename S>
__device__ inline Compute<S> distance_of_rows(const S* x, const S* y, int64_t d, Compute<S> scale_x,
                                              Compute<S> scale_y, Metric metric) {
    Compute<S> squared = 0;
#pragma unroll 1
    for (int64_t k = 0; k < d; ++k) {
        const Compute<S> difference =
            product(to_compute(x[k]), scale_x) - product(to_compute(y[k]), scale_y);
        squared += difference * difference;
    }
    return distance_of(squared, scale_x, scale_y, metric);
}

// The same by a whole warp, in every lane.
template <typename S>
__device__ inline Compute<S> distance_of_rows_by_warp(const S* x, const S* y, int64_t d,
                                                      Compute<S> scale_x, Compute<S> scale_y,
                                                      Metric metric) {
    Compute<S> squared = 0;
    for (int64_t k = threadIdx.x % kWarp; k < d; k += kWarp) {
        const Compute<S> difference =
            product(to_compute(x[k]), scale_x) - product(to_compute(y[k]), scale_y);
        squared += difference * difference;
    }
    return distance_of(warp_sum(squared), scale_x, scale_y, metric);
}

// What one attribute adds to D between the probability a of a sketch and the logit y of a photo.
template <typename T>
__device__ inline T predicted_difference(const Probability<T>& a, T y, AttributeMetric metric) {
    if (metric == AttributeMetric::cross_entropy) {
        return a.yes * softplus(-y) + (1 - a.yes) * softplus(y);
    }
    const T difference = a.yes - probability(y).yes;
    return difference * difference;
}

// D, given the sum of what the k attributes add.
template <typename T>
__device__ inline T predicted_distance_of(T sum, int64_t k, AttributeMetric metric) {
    if (metric == AttributeMetric::sqeuclidean) return sum;
    if (metric == AttributeMetric::euclidean) return std::sqrt(sum);
    return sum / static_cast<T>(k > 0 ? k : 1);
}

}  // namespace fgsbir::cuda
