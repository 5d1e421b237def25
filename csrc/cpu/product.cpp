// Inner products of packed rows, by sums that stay in registers. This file alone is compiled with
// products and sums contracted (CMakeLists.txt).

#include "product.h"

#include <cstring>

namespace fgsbir::cpu {
namespace {

// kRows rows of x with kVectors vectors of a panel.
template <int kRows, int kVectors, typename T>
FGSBIR_INLINE inline void multiply_tile(const T* x, int64_t d, const T* panel, T* out,
                                        int64_t stride) {
    Vec<T> sums[kRows][kVectors] = {};
    for (int64_t k = 0; k < d; ++k) {
        Vec<T> column[kVectors];
        for (int v = 0; v < kVectors; ++v) column[v] = load(panel + k * kPanel<T> + v * kLanes<T>);
#pragma GCC unroll 16
        for (int r = 0; r < kRows; ++r) {
            const T own = x[r * d + k];
            for (int v = 0; v < kVectors; ++v) sums[r][v] += own * column[v];
        }
    }
    for (int r = 0; r < kRows; ++r) {
        for (int v = 0; v < kVectors; ++v) store(out + r * stride + v * kLanes<T>, sums[r][v]);
    }
}

// As many rows with whole panels.
template <int kRows, InstructionSet kSet, typename T>
FGSBIR_INLINE inline void multiply_rows(const T* x, int64_t d, const T* packed, int64_t panels,
                                        T* out, int64_t stride) {
    constexpr int kVectors = kSet == InstructionSet::avx512 ? 2 : 1;
    for (int64_t p = 0; p < panels; ++p) {
        for (int64_t v = 0; v < 2; v += kVectors) {
            multiply_tile<kRows, kVectors>(x, d, packed + p * d * kPanel<T> + v * kLanes<T>,
                                           out + p * kPanel<T> + v * kLanes<T>, stride);
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
void multiply_packed(const T* x, int64_t rows, int64_t d, const T* packed, int64_t panels, T* out,
                     int64_t stride) {
    run_for_set([&](auto set) FGSBIR_INLINE {
        constexpr InstructionSet kSet = decltype(set)::value;
        // Sums take at most three quarters of the registers: 24, 6 or 2 vectors of 64 bytes.
        constexpr int kMost = kRegisterBytes<kSet> == 2048  ? 12
                              : kRegisterBytes<kSet> == 512 ? 6
                                                            : 2;
        int64_t row = 0;
        const auto go = [&](auto count) FGSBIR_INLINE {
            constexpr int kRows = decltype(count)::value;
            if constexpr (kRows <= kMost) {
                for (; row + kRows <= rows; row += kRows) {
                    multiply_rows<kRows, kSet>(x + row * d, d, packed, panels, out + row * stride,
                                               stride);
                }
            }
        };
        go(std::integral_constant<int, 12>{});
        if constexpr (kMost == 12) go(std::integral_constant<int, 8>{});
        if constexpr (kMost == 6) go(std::integral_constant<int, 6>{});
        go(std::integral_constant<int, 4>{});
        go(std::integral_constant<int, 2>{});
        go(std::integral_constant<int, 1>{});
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

#define FGSBIR_INSTANTIATE(T)                                                                  \
    template void pack_panel(const T*, int64_t, int64_t, T*);                                  \
    template void multiply_packed(const T*, int64_t, int64_t, const T*, int64_t, T*, int64_t); \
    template void multiply_few(const T*, int64_t, int64_t, const T*, int64_t, T*, int64_t);
FGSBIR_INSTANTIATE(float)
FGSBIR_INSTANTIATE(double)
#undef FGSBIR_INSTANTIATE

}  // namespace fgsbir::cpu
