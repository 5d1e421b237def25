// Emulated products of warpgroups, as csrc/cuda/wgmma.cuh uses them.
//
// Written from the PTX ISA ("Asynchronous Warpgroup Level Matrix Instructions", "Async Proxy"), and
// not from the kernels: see warpgroup.cpp.
#pragma once

#include <cstdint>
#include <cstring>

namespace emulation {

// A 32-bit address in the window of shared memory.
uint32_t shared_window_address(const void* in_shared_memory);

// What is in shared memory now is what products read from now on.
void fence_async_proxy();

// By all lanes of a warp.
void fence_sums();
void commit_products();
void wait_for_products(int groups_that_may_be_under_way);

// By all threads of a warpgroup: sums += a b^T for 64 rows of A and 128 of B, each of 16 numbers
// that their descriptors name. `sums` points to the registers d0 to d63 of the PTX ISA. They hold
// NaN until the thread has waited for the group that the product belongs to.
using ToFloat = float (*)(uint16_t bits);
void multiply_m64n128k16(float* const (&sums)[64], uint64_t a, uint64_t b, ToFloat to_float);

}  // namespace emulation

namespace fgsbir::cuda {

inline unsigned shared_address(const void* in_shared_memory) {
    return emulation::shared_window_address(in_shared_memory);
}
inline void fence_proxy_async() {
    emulation::fence_async_proxy();
}
inline void wgmma_fence() {
    emulation::fence_sums();
}
inline void wgmma_commit() {
    emulation::commit_products();
}

// Groups of 8 columns, in each the thread's two rows, in each two neighbouring columns.
template <typename S, bool kAdd>
inline void wgmma_m64n128k16(float (&sums)[2][32], uint64_t a, uint64_t b) {
    float* registers[64];
    for (int i = 0; i < 64; ++i) {
        registers[i] = &sums[i / 2 % 2][i / 4 * 2 + i % 2];
        if (!kAdd) *registers[i] = 0;
    }
    emulation::multiply_m64n128k16(registers, a, b, [](uint16_t bits) {
        S number;
        std::memcpy(&number, &bits, sizeof(number));
        return to_compute(number);
    });
}

template <int kPending>
inline void wgmma_wait(float (&)[2][32]) {
    emulation::wait_for_products(kPending);
}

}  // namespace fgsbir::cuda
