// Emulated tensor cores and asynchronous copies, as csrc/cuda/mma.cuh uses them.
//
// Which element of a matrix lies in which register of which lane is written down here from the
// tables of the PTX ISA ("Matrix Fragments for mma.m16n8k16", "... mma.m16n8k8", "ldmatrix"), and
// not from the kernels. Sums are cut off after every instruction, as published measurements of
// tensor cores have it; TF32 operands lose what the format has no place for. A copy leaves NaN at
// its target until its own thread has waited for it.
#pragma once

#include "scheduler.h"

namespace emulation {

// A float32 that does not exceed the sum: tensor cores do not round.
inline float cut_off(double sum) {
    const auto nearest = static_cast<float>(sum);
    const bool beyond = std::abs(static_cast<double>(nearest)) > std::abs(sum);
    return beyond && !std::isinf(nearest) ? std::nextafter(nearest, 0.0f) : nearest;
}

struct Position {
    int row, column;
};

// The registers that a lane brings to mma.sync: elements of A and B, and its sums.
template <typename T, int kDepth>
struct MmaLane {
    static constexpr int kOfA = 16 * kDepth / 32, kOfB = kDepth * 8 / 32;
    T a[kOfA], b[kOfB];
    float c[4];
};

// d = a b + c for a 16 x kDepth and b kDepth x 8, by all lanes of a warp. Layout says where the
// element i of a fragment lies in its matrix.
template <typename T, int kDepth, typename Layout>
void multiply_matrices(void* const* lanes) {
    using Lane = MmaLane<T, kDepth>;
    double a[16][kDepth], b[kDepth][8];
    for (int lane = 0; lane < 32; ++lane) {
        const Lane& own = *static_cast<const Lane*>(lanes[lane]);
        for (int i = 0; i < Lane::kOfA; ++i) {
            const Position at = Layout::a(lane, i);
            a[at.row][at.column] = own.a[i];
        }
        for (int i = 0; i < Lane::kOfB; ++i) {
            const Position at = Layout::b(lane, i);
            b[at.row][at.column] = own.b[i];
        }
    }
    for (int lane = 0; lane < 32; ++lane) {
        Lane& own = *static_cast<Lane*>(lanes[lane]);
        for (int i = 0; i < 4; ++i) {
            const int group = lane >> 2, in_group = lane % 4;
            const int row = i < 2 ? group : group + 8, column = in_group * 2 + (i & 1);
            double sum = own.c[i];
            for (int k = 0; k < kDepth; ++k) sum += a[row][k] * b[k][column];
            own.c[i] = cut_off(sum);
        }
    }
}

struct LayoutM16N8K16 {
    static Position a(int lane, int i) {
        const int group = lane >> 2, in_group = lane % 4;
        const bool upper = (0 <= i && i < 2) || (4 <= i && i < 6);
        return {upper ? group : group + 8, in_group * 2 + (i & 1) + (i < 4 ? 0 : 8)};
    }
    static Position b(int lane, int i) {
        return {lane % 4 * 2 + (i & 1) + (i < 2 ? 0 : 8), lane >> 2};
    }
};

struct LayoutM16N8K8 {
    static Position a(int lane, int i) {
        const int group = lane >> 2, in_group = lane % 4;
        return {i == 0 || i == 2 ? group : group + 8, i < 2 ? in_group : in_group + 4};
    }
    static Position b(int lane, int i) { return {i == 0 ? lane % 4 : lane % 4 + 4, lane >> 2}; }
};

// Lanes of ldmatrix.x4: the row that a lane names, and the four registers that it gets.
struct LoadLane {
    const unsigned char* row;
    unsigned out[4];
};

inline void load_matrices(void* const* lanes) {
    for (int lane = 0; lane < 32; ++lane) {
        auto& own = *static_cast<LoadLane*>(lanes[lane]);
        for (int matrix = 0; matrix < 4; ++matrix) {
            const int row = lane / 4, element = 2 * (lane % 4);  // of 8 elements of 16 bits
            const auto& named = *static_cast<const LoadLane*>(lanes[8 * matrix + row]);
            std::memcpy(&own.out[matrix], named.row + 2 * element, 4);
        }
    }
}

// The two 16-bit numbers of a register, the lower half first.
template <typename S>
void unpack(unsigned bits, float* two) {
    S halves[2];
    std::memcpy(halves, &bits, sizeof(bits));
    for (int i = 0; i < 2; ++i) two[i] = fgsbir::cuda::to_compute(halves[i]);
}

inline float as_tf32(unsigned bits) {
    return bit_cast<float>(bits & ~0x1fffu);
}

}  // namespace emulation

namespace fgsbir::cuda {

inline void ldmatrix_x4(unsigned (&out)[4], const void* row) {
    emulation::LoadLane lane = {static_cast<const unsigned char*>(row), {}};
    if (reinterpret_cast<uintptr_t>(row) % 16 != 0) {
        throw std::runtime_error("ldmatrix takes rows at multiples of 16 bytes");
    }
    emulation::warp_together(emulation::load_matrices, &lane);
    std::copy_n(lane.out, 4, out);
}

template <typename S>
inline void mma_m16n8k16(float& c0, float& c1, float& c2, float& c3, const unsigned (&a)[4],
                         unsigned b0, unsigned b1) {
    emulation::MmaLane<float, 16> lane = {{}, {}, {c0, c1, c2, c3}};
    for (int i = 0; i < 4; ++i) emulation::unpack<S>(a[i], lane.a + 2 * i);
    emulation::unpack<S>(b0, lane.b);
    emulation::unpack<S>(b1, lane.b + 2);
    emulation::warp_together(emulation::multiply_matrices<float, 16, emulation::LayoutM16N8K16>,
                             &lane);
    c0 = lane.c[0], c1 = lane.c[1], c2 = lane.c[2], c3 = lane.c[3];
}

inline void mma_m16n8k8_tf32(float& c0, float& c1, float& c2, float& c3, const unsigned (&a)[4],
                             unsigned b0, unsigned b1) {
    using emulation::as_tf32;
    emulation::MmaLane<float, 8> lane = {
        {as_tf32(a[0]), as_tf32(a[1]), as_tf32(a[2]), as_tf32(a[3])},
        {as_tf32(b0), as_tf32(b1)},
        {c0, c1, c2, c3}};
    emulation::warp_together(emulation::multiply_matrices<float, 8, emulation::LayoutM16N8K8>,
                             &lane);
    c0 = lane.c[0], c1 = lane.c[1], c2 = lane.c[2], c3 = lane.c[3];
}

inline void cp_async_16(void* to, const void* from, bool exist) {
    emulation::copy_later(to, exist ? from : nullptr);
}
inline void cp_async_commit() {
    emulation::commit_copies();
}
template <int kPending>
inline void cp_async_wait() {
    emulation::wait_for_copies(kPending);
}

}  // namespace fgsbir::cuda
