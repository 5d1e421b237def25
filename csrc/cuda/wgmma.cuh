// The instructions of a warpgroup's tensor cores on Hopper (sm_90a), each as one function.
//
// wgmma multiplies matrices in shared memory while the threads that asked for it go on. Three
// things have to be said that other instructions do without. fence_proxy_async: what this thread
// has stored to shared memory, or has copied there and waited for, is to be seen by wgmma; a
// barrier then tells those who ask for the product. wgmma_fence: what has been done to the
// registers of sums is done. wgmma_wait: the sums are there, and the operands have been read.
//
// kWarpgroups says whether the code under way is for such a chip, and nothing here may be called
// where it is not. A warpgroup is 128 threads, the first a multiple of 128; all of them must come
// to every wgmma_m64n128k16, and whole warps to everything else but fence_proxy_async.
//
// A compiler other than nvcc must bring <emulated_wgmma.h>, which defines the same functions.
#pragma once

#include "k_tile.cuh"

namespace fgsbir::cuda {

#if defined(__CUDA_ARCH__) && !defined(__CUDA_ARCH_FEAT_SM90_ALL)
constexpr bool kWarpgroups = false;
#else
constexpr bool kWarpgroups = true;
#endif

constexpr int kWarpgroup = 4 * kWarp;

#ifdef __CUDACC__

__device__ inline void fence_proxy_async() {
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

__device__ inline void wgmma_fence() {
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

// A thread's sums in the order of the PTX ISA: two neighbouring columns of its first row, the same
// of its second, 8 columns further on again. `io` says that they are written, or read too.
#define FGSBIR_BLOCK(io, c) io(sums[0][c]), io(sums[0][c + 1]), io(sums[1][c]), io(sums[1][c + 1])
#define FGSBIR_SUMS(io)                                                                         \
    FGSBIR_BLOCK(io, 0), FGSBIR_BLOCK(io, 2), FGSBIR_BLOCK(io, 4), FGSBIR_BLOCK(io, 6),         \
        FGSBIR_BLOCK(io, 8), FGSBIR_BLOCK(io, 10), FGSBIR_BLOCK(io, 12), FGSBIR_BLOCK(io, 14),  \
        FGSBIR_BLOCK(io, 16), FGSBIR_BLOCK(io, 18), FGSBIR_BLOCK(io, 20), FGSBIR_BLOCK(io, 22), \
        FGSBIR_BLOCK(io, 24), FGSBIR_BLOCK(io, 26), FGSBIR_BLOCK(io, 28), FGSBIR_BLOCK(io, 30)
// sums = A B, or with `add` sums + A B, neither operand negated or transposed.
#define FGSBIR_WGMMA(types, add, io)                                                           \
    asm volatile("{\n.reg .pred add;\nsetp.ne.b32 add, " add                                   \
                 ", 0;\n"                                                                      \
                 "wgmma.mma_async.sync.aligned.m64n128k16.f32." types                          \
                 " {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "    \
                 "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, " \
                 "%31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, " \
                 "%46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, " \
                 "%61, %62, %63}, %64, %65, add, 1, 1, 0, 0;\n}"                               \
                 : FGSBIR_SUMS(io)                                                             \
                 : "l"(a), "l"(b)                                                              \
                 : "memory")

// Starts sums += a b^T, or without kAdd sums = a b^T, for 64 rows and 128 columns of 16 numbers of
// 16 bits, each operand named by its descriptor. The sums lie as layout.cuh has them, and are
// nobody's until they are waited for.
template <typename S, bool kAdd>
__device__ inline void wgmma_m64n128k16(float (&sums)[2][32], uint64_t a, uint64_t b) {
    static_assert(std::is_same_v<S, __half> || std::is_same_v<S, __nv_bfloat16>);
    if constexpr (std::is_same_v<S, __half> && kAdd) {
        FGSBIR_WGMMA("f16.f16", "1", "+f");
    } else if constexpr (std::is_same_v<S, __half>) {
        FGSBIR_WGMMA("f16.f16", "0", "=f");
    } else if constexpr (kAdd) {
        FGSBIR_WGMMA("bf16.bf16", "1", "+f");
    } else {
        FGSBIR_WGMMA("bf16.bf16", "0", "=f");
    }
}

// Closes a group: the products since the last one.
__device__ inline void wgmma_commit() {
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

// Waits until no more than the last kPending groups are under way. What reads the sums may not be
// moved to before it, hence they are named.
template <int kPending>
__device__ inline void wgmma_wait(float (&sums)[2][32]) {
    asm volatile("wgmma.wait_group.sync.aligned %64;"
                 : FGSBIR_SUMS("+f")
                 : "n"(kPending)
                 : "memory");
}

#undef FGSBIR_WGMMA
#undef FGSBIR_SUMS
#undef FGSBIR_BLOCK

#endif

}  // namespace fgsbir::cuda

#ifndef __CUDACC__
#include <emulated_wgmma.h>
#endif

namespace fgsbir::cuda {

// In a descriptor addresses and distances are counted in units of 16 bytes.
constexpr int kDescriptorUnit = 16;

// Where a descriptor, which has 14 bits for it, says that an operand begins.
__device__ inline unsigned descriptor_address(const unsigned char* first_row) {
    return shared_address(first_row) / kDescriptorUnit & 0x3fff;
}

// Names rows of a k-tile (k_tile.cuh), from a multiple of 8 on, as an operand whose depth is
// contiguous and swizzled by 64 bytes.
__device__ inline uint64_t k_tile_descriptor(unsigned address) {
    constexpr uint64_t kSwizzle64 = uint64_t(2) << 62;
    constexpr uint64_t kToNextEightRows = uint64_t(8 * kKTileBytes / kDescriptorUnit) << 32;
    constexpr unsigned kToNextChunk = 1u << 16;  // swizzled, it is not looked at
    return kSwizzle64 | kToNextEightRows | (address | kToNextChunk);
}

}  // namespace fgsbir::cuda
