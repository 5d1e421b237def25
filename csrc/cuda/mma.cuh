// The instructions of tensor cores and of asynchronous copies, each as one function.
//
// They exist from sm_80 on; kTensorCores says whether the code under way is for such a chip, and
// nothing here may be called where it is not. Fragments are the 32-bit registers of the PTX ISA: a
// warp's lanes hold a matrix together, and all 32 of them must come to an instruction of the warp.
//
// A compiler other than nvcc must bring <emulated_mma.h>, which defines the same functions.
#pragma once

#include "numeric.cuh"

namespace fgsbir::cuda {

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
constexpr bool kTensorCores = false;
#else
constexpr bool kTensorCores = true;
#endif

#ifdef __CUDACC__

__device__ inline unsigned shared_address(const void* in_shared_memory) {
    return static_cast<unsigned>(__cvta_generic_to_shared(in_shared_memory));
}

// Four matrices of 8 rows of 16 bytes. Lane 8 m + r names row r of matrix m, and gets in out[m]
// bytes 4 (lane % 4) to 4 (lane % 4) + 3 of row lane / 4 of matrix m.
__device__ inline void ldmatrix_x4(unsigned (&out)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(shared_address(row))
                 : "memory");
}

// c += a b for a 16 x 16 and b 16 x 8 of 16-bit numbers.
template <typename S>
__device__ inline void mma_m16n8k16(float& c0, float& c1, float& c2, float& c3,
                                    const unsigned (&a)[4], unsigned b0, unsigned b1) {
    if constexpr (std::is_same_v<S, __half>) {
        asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
            "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
            : "+f"(c0), "+f"(c1), "+f"(c2), "+f"(c3)
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    } else {
        static_assert(std::is_same_v<S, __nv_bfloat16>);
        asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
            "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
            : "+f"(c0), "+f"(c1), "+f"(c2), "+f"(c3)
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    }
}

// c += a b for a 16 x 8 and b 8 x 8 of TF32 numbers; what of a float32 has no place in those is cut
// off.
__device__ inline void mma_m16n8k8_tf32(float& c0, float& c1, float& c2, float& c3,
                                        const unsigned (&a)[4], unsigned b0, unsigned b1) {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c0), "+f"(c1), "+f"(c2), "+f"(c3)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Starts copying 16 bytes, or where they do not exist zeros in their place; `from` is then not
// read. Both addresses are multiples of 16. `to` holds neither old nor new bytes for certain until
// the thread has waited for the group that the copy belongs to, and for other threads until a
// barrier after that.
__device__ inline void cp_async_16(void* to, const void* from, bool exist) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)),
                 "l"(from), "r"(exist ? 16 : 0)
                 : "memory");
}

// Closes a group: the thread's copies since the last one, if there were any.
__device__ inline void cp_async_commit() {
    asm volatile("cp.async.commit_group;" ::: "memory");
}

// Waits until no more than the last kPending of this thread's groups are under way.
template <int kPending>
__device__ inline void cp_async_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

#endif

}  // namespace fgsbir::cuda

#ifndef __CUDACC__
#include <emulated_mma.h>
#endif
