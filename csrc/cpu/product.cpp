// Inner products of packed rows, by sums that stay in registers. This file alone is compiled with
// products and sums contracted (CMakeLists.txt).

#include "product.h"

namespace fgsbir::cpu {
namespace {

// The shape of the sums that stay in registers: at most 12 or 6 rows by some vectors, which leaves
// a few registers to what they are made of. Vectors are as wide as registers: GCC takes wider ones
// through memory.
template <InstructionSet kSet, typename T>
struct Shape {
    typedef T Vector __attribute__((vector_size(kRegisterBytes<kSet>)));
    // The same anywhere in memory. (memcpy is split for the baseline before it meets wider sets.)
    typedef T InMemory __attribute__((vector_size(kRegisterBytes<kSet>), aligned(sizeof(T))));
    static constexpr int kRows = kSet == InstructionSet::avx512 ? 12 : 6;
    static constexpr int kVectors = kSet == InstructionSet::avx512 ? 2 : kRegisters<kSet> / 8;
    static constexpr int kLanes = kRegisterBytes<kSet> / sizeof(T);
    static constexpr int kColumns = kVectors * kLanes;
    static_assert(kPanel<T> % kColumns == 0);
};

// kRows rows of x with kColumns columns of a panel.
template <int kRows, typename Shape, typename T>
FGSBIR_INLINE inline void multiply_tile(const T* x, int64_t x_stride, int64_t d, const T* panel,
                                        T* out, int64_t stride) {
    using Vector = typename Shape::Vector;
    using InMemory = typename Shape::InMemory;
    constexpr int kVectors = Shape::kVectors, kLanes = Shape::kLanes;
    Vector sums[kRows][kVectors] = {};
    for (int64_t k = 0; k < d; ++k) {
        Vector column[kVectors];
        for (int v = 0; v < kVectors; ++v) {
            column[v] = *reinterpret_cast<const InMemory*>(panel + k * kPanel<T> + v * kLanes);
        }
#pragma GCC unroll 16
        for (int r = 0; r < kRows; ++r) {
            const T own = x[r * x_stride + k];
            for (int v = 0; v < kVectors; ++v) sums[r][v] += own * column[v];
        }
    }
    for (int r = 0; r < kRows; ++r) {
        for (int v = 0; v < kVectors; ++v) {
            *reinterpret_cast<InMemory*>(out + r * stride + v * kLanes) = sums[r][v];
        }
    }
}

}  // namespace

template <typename T>
void pack_panel(const T* y, int64_t rows, int64_t d, T* panel) {
    for (int64_t j = 0; j < rows; ++j) {
        for (int64_t k = 0; k < d; ++k) panel[k * kPanel<T> + j] = y[j * d + k];
    }
    for (int64_t j = rows; j < kPanel<T>; ++j) {
        for (int64_t k = 0; k < d; ++k) panel[k * kPanel<T> + j] = 0;
    }
}

template <typename T>
void multiply_packed(const T* x, int64_t x_stride, int64_t rows, int64_t d, const T* packed,
                     int64_t panels, T* out, int64_t stride) {
    run_for_set([&](auto set) FGSBIR_INLINE {
        using Sums = Shape<decltype(set)::value, T>;
        int64_t row = 0;
        // As many groups of so many rows as are left.
        const auto multiply = [&](auto count) FGSBIR_INLINE {
            constexpr int kRows = decltype(count)::value;
            for (; row + kRows <= rows; row += kRows) {
                for (int64_t p = 0; p < panels; ++p) {
                    for (int64_t c = 0; c < kPanel<T>; c += Sums::kColumns) {
                        multiply_tile<kRows, Sums>(x + row * x_stride, x_stride, d,
                                                   packed + p * d * kPanel<T> + c,
                                                   out + row * stride + p * kPanel<T> + c, stride);
                    }
                }
            }
        };
        multiply(std::integral_constant<int, Sums::kRows>{});
        if constexpr (Sums::kRows > 8) multiply(std::integral_constant<int, 8>{});
        multiply(std::integral_constant<int, 4>{});
        multiply(std::integral_constant<int, 2>{});
        multiply(std::integral_constant<int, 1>{});
    });
}

template <typename T>
void multiply_few(const T* x, int64_t rows, int64_t d, const T* y, int64_t columns, T* out,
                  int64_t stride) {
    run([&]() FGSBIR_INLINE {
        for (int64_t j = 0; j < columns; ++j) {
            const T* other = y + j * d;
            for (int64_t r = 0; r < rows; ++r) {
                const T* own = x + r * d;
                out[r * stride + j] = sum_over<T>(
                    d, [=](int64_t k) FGSBIR_INLINE { return load(own + k) * load(other + k); },
                    [=](int64_t k) FGSBIR_INLINE { return own[k] * other[k]; });
            }
        }
    });
}

#define FGSBIR_INSTANTIATE(T)                                                                 \
    template void pack_panel(const T*, int64_t, int64_t, T*);                                 \
    template void multiply_packed(const T*, int64_t, int64_t, int64_t, const T*, int64_t, T*, \
                                  int64_t);                                                   \
    template void multiply_few(const T*, int64_t, int64_t, const T*, int64_t, T*, int64_t);
FGSBIR_INSTANTIATE(float)
FGSBIR_INSTANTIATE(double)
#undef FGSBIR_INSTANTIATE

}  // namespace fgsbir::cpu
