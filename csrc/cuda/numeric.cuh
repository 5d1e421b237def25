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

// 1 / |x|, or 0 for the zero vector, which has no direction. Where the square overflows it is NaN:
// 0 would hide that.
template <typename T>
__device__ inline T inverse_norm_of(T squared) {
    if (squared == 0) return 0;
    return std::isinf(squared) ? static_cast<T>(NAN) : 1 / std::sqrt(squared);
}

}  // namespace fgsbir::cuda
