// Selection keys: a score and an index as one integer, smaller score first, then smaller index.
//
// A minimum of integers does not depend on the order in which it is taken, so neither threads nor
// blocks nor splits can change a result, and ties go to the lowest index by themselves. The bits of
// a score are mapped so that unsigned integers are in its order, with NaN below everything.
#pragma once

#include "numeric.cuh"

namespace fgsbir::cuda {

__device__ inline unsigned ordered_bits(float x) {
    if (x != x) return 0;
    const unsigned bits = __float_as_uint(x + 0.0f);  // -0 becomes +0
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

__device__ inline unsigned long long ordered_bits(double x) {
    if (x != x) return 0;
    const auto bits = static_cast<unsigned long long>(__double_as_longlong(x + 0.0));
    constexpr unsigned long long sign = 1ull << 63;
    return bits & sign ? ~bits : bits | sign;
}

// A score and the index of its column, below 2^32 - 1.
template <typename T>
struct Key;

// One 64-bit word.
template <>
struct Key<float> {
    unsigned long long bits;

    __device__ static Key none() { return {~0ull}; }
    __device__ static Key of(float score, int64_t index) {
        return {static_cast<unsigned long long>(ordered_bits(score)) << 32 |
                static_cast<unsigned>(index)};
    }
    __device__ bool operator<(const Key& other) const { return bits < other.bits; }
    // Of a key that is not none().
    __device__ int64_t index() const { return static_cast<int64_t>(bits & 0xffffffffu); }
    __device__ int64_t index_or_none() const { return *this < none() ? index() : -1; }
    __device__ float score() const {
        const auto ordered = static_cast<unsigned>(bits >> 32);
        if (ordered == 0) return NAN;
        return __uint_as_float(ordered & 0x80000000u ? ordered & 0x7fffffffu : ~ordered);
    }
    __device__ Key from_lane(int lane_mask) const {
        return {__shfl_xor_sync(kFullMask, bits, lane_mask)};
    }
};

// Two words, compared one after the other.
template <>
struct Key<double> {
    unsigned long long ordered, column;

    __device__ static Key none() { return {~0ull, ~0ull}; }
    __device__ static Key of(double score, int64_t index) {
        return {ordered_bits(score), static_cast<unsigned long long>(index)};
    }
    __device__ bool operator<(const Key& other) const {
        // Without a branch.
        return (ordered < other.ordered) | ((ordered == other.ordered) & (column < other.column));
    }
    __device__ int64_t index() const { return static_cast<int64_t>(column); }
    __device__ int64_t index_or_none() const { return index(); }  // none() has -1
    __device__ double score() const {
        constexpr unsigned long long sign = 1ull << 63;
        if (ordered == 0) return NAN;
        return __longlong_as_double(
            static_cast<long long>(ordered & sign ? ordered & ~sign : ~ordered));
    }
    __device__ Key from_lane(int lane_mask) const {
        return {__shfl_xor_sync(kFullMask, ordered, lane_mask),
                __shfl_xor_sync(kFullMask, column, lane_mask)};
    }
};

template <typename T>
__device__ inline Key<T> smaller(const Key<T>& a, const Key<T>& b) {
    return b < a ? b : a;
}

// The smallest key of each group of `lanes` neighbouring lanes, in all of them.
template <typename T>
__device__ inline Key<T> smallest_of(Key<T> key, int lanes) {
    for (int offset = lanes / 2; offset > 0; offset /= 2) {
        key = smaller(key, key.from_lane(offset));
    }
    return key;
}

}  // namespace fgsbir::cuda
