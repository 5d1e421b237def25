// CUDA's language and runtime for a plain C++ compiler, as far as csrc/cuda uses them.
//
// Stands in for the toolkit's header of the same name: found first on the include path, it lets the
// kernels' own source compile and run on the host. One grid runs at a time, one block after the
// other in a shuffled order, the threads of a block as fibers (see scheduler.h).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "scheduler.h"

// --- Language ------------------------------------------------------------------------------------

#define __host__
#define __device__
#define __global__
#define __shared__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))

struct uint2 {
    unsigned x, y;
};
inline uint2 make_uint2(unsigned x, unsigned y) {
    return {x, y};
}

struct __align__(16) uint4 {
    unsigned x, y, z, w;
};

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

#define threadIdx (::emulation::thread_index)
#define blockIdx (::emulation::block_index)

using std::max;
using std::min;

// --- Threads working together --------------------------------------------------------------------

inline void __syncthreads() {
    emulation::block_barrier(false);
}
inline int __syncthreads_or(int predicate) {
    return emulation::block_barrier(predicate != 0);
}

// No chip that the emulation stands for lacks a kernel.
inline void __trap() {
    std::abort();
}
inline void __syncwarp(unsigned mask = 0xffffffffu) {
    emulation::warp_exchange(emulation::WarpOperation::sync, mask, 0, 0);
}

inline unsigned __ballot_sync(unsigned mask, int predicate) {
    return static_cast<unsigned>(
        emulation::warp_exchange(emulation::WarpOperation::ballot, mask, predicate != 0, 0));
}

namespace emulation {

template <typename T>
T shuffle(WarpOperation operation, unsigned mask, T value, int argument) {
    static_assert(std::is_arithmetic_v<T> && sizeof(T) <= sizeof(uint64_t), "what CUDA shuffles");
    uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof(T));
    bits = warp_exchange(operation, mask, bits, argument);
    std::memcpy(&value, &bits, sizeof(T));
    return value;
}

}  // namespace emulation

template <typename T>
T __shfl_sync(unsigned mask, T value, int lane) {
    return emulation::shuffle(emulation::WarpOperation::shuffle, mask, value, lane);
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask) {
    return emulation::shuffle(emulation::WarpOperation::shuffle_xor, mask, value, lane_mask);
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, int delta) {
    return emulation::shuffle(emulation::WarpOperation::shuffle_up, mask, value, delta);
}
template <typename T>
unsigned __match_any_sync(unsigned mask, T value) {
    uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof(T));
    return static_cast<unsigned>(
        emulation::warp_exchange(emulation::WarpOperation::match_any, mask, bits, 0));
}

inline int atomicAdd(int* to, int value) {
    return std::exchange(*to, *to + value);
}
inline unsigned long long atomicMin(unsigned long long* to, unsigned long long value) {
    return std::exchange(*to, std::min(*to, value));
}

// --- Arithmetic ----------------------------------------------------------------------------------

namespace emulation {

template <typename To, typename From>
To bit_cast(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    std::memcpy(&to, &from, sizeof(To));
    return to;
}

}  // namespace emulation

inline unsigned __float_as_uint(float x) {
    return emulation::bit_cast<unsigned>(x);
}
inline float __uint_as_float(unsigned x) {
    return emulation::bit_cast<float>(x);
}
inline float rsqrtf(float x) {
    return 1 / std::sqrt(x);
}
inline int __float_as_int(float x) {
    return emulation::bit_cast<int>(x);
}
inline float __int_as_float(int x) {
    return emulation::bit_cast<float>(x);
}
inline int __double2int_rn(double x) {
    return std::isnan(x) ? 0 : static_cast<int>(std::nearbyint(x));
}
inline long long __double_as_longlong(double x) {
    return emulation::bit_cast<long long>(x);
}
inline double __longlong_as_double(long long x) {
    return emulation::bit_cast<double>(x);
}
inline int __popc(unsigned x) {
    return __builtin_popcount(x);
}
inline int __ffs(int x) {
    return __builtin_ffs(x);
}
// Results that no later operation may be fused with.
template <typename T>
inline T rounded(T x) {
#if defined(__x86_64__)
    asm volatile("" : "+x"(x));
#else
    volatile T kept = x;
    x = kept;
#endif
    return x;
}
inline float __fadd_rn(float a, float b) {
    return rounded(a + b);
}
inline float __fmul_rn(float a, float b) {
    return rounded(a * b);
}
inline double __dadd_rn(double a, double b) {
    return rounded(a + b);
}
inline double __dmul_rn(double a, double b) {
    return rounded(a * b);
}

// --- Runtime -------------------------------------------------------------------------------------

enum cudaError_t {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorInvalidConfiguration = 9,
    cudaErrorLaunchFailure = 719,
};

using cudaStream_t = struct CUstream_st*;

struct cudaLaunchConfig_t {
    dim3 gridDim, blockDim;
    size_t dynamicSmemBytes;
    cudaStream_t stream;
    void* attrs;
    unsigned numAttrs;
};

cudaError_t cudaGetLastError();
cudaError_t cudaDriverGetVersion(int* version);  // 0: there is no driver
cudaError_t cudaGetDevice(int* device);
const char* cudaGetErrorName(cudaError_t error);
const char* cudaGetErrorString(cudaError_t error);

namespace emulation {

cudaError_t run_grid(const cudaLaunchConfig_t& config, const void* kernel,
                     std::vector<std::string> parameters, const std::function<void()>& thread);
cudaError_t allow_shared(const void* kernel, int bytes);

}  // namespace emulation

// Of every kernel: compiled for the chip that has all that is emulated.
struct cudaFuncAttributes {
    int ptxVersion, maxThreadsPerBlock;
};
template <typename Kernel>
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, Kernel*) {
    attributes->ptxVersion = 90;
    attributes->maxThreadsPerBlock = 1024;
    return cudaSuccess;
}

// Few, so that one block has several tiles of even a small problem.
enum cudaDeviceAttr { cudaDevAttrMultiProcessorCount };
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr, int) {
    *value = 4;
    return cudaSuccess;
}

enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
template <typename Kernel>
cudaError_t cudaFuncSetAttribute(Kernel* kernel, cudaFuncAttribute, int bytes) {
    return emulation::allow_shared(reinterpret_cast<const void*>(kernel), bytes);
}

template <typename... Parameters, typename... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
    const std::tuple<std::decay_t<Parameters>...> held(std::forward<Arguments>(arguments)...);
    std::vector<std::string> bytes = std::apply(
        [](const auto&... parameters) {
            return std::vector<std::string>{
                {reinterpret_cast<const char*>(&parameters), sizeof(parameters)}...};
        },
        held);
    return emulation::run_grid(*config, reinterpret_cast<const void*>(kernel), std::move(bytes),
                               [&] { std::apply(kernel, held); });
}
