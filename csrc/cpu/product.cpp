// Inner products of packed rows, by sums that stay in registers. This file alone is compiled with
// products and sums contracted (CMakeLists.txt).

#include "product.h"

#include <type_traits>

namespace fgsbir::cpu {
namespace {

// Rows of the square that is transposed at once, in vectors of 16 bytes: every x86-64 and ARM has
// them.
template <typename T>
constexpr int64_t kSquare = 16 / sizeof(T);

// The lanes of a followed by those of b, chosen by number.
template <int... kFrom, typename V>
inline V chosen(V a, V b) {
#if defined(__clang__)
    return __builtin_shufflevector(a, b, kFrom...);
#else
    typedef std::conditional_t<sizeof...(kFrom) == 4, int32_t, int64_t> Index;
    typedef Index Indices __attribute__((vector_size(16)));
    return __builtin_shuffle(a, b, Indices{kFrom...});
#endif
}

// panel[k, j] = y[j, k] of a square.
inline void transpose_square(const float* y, int64_t d, float* panel) {
    const auto row0 = load<16>(y), row1 = load<16>(y + d);
    const auto row2 = load<16>(y + 2 * d), row3 = load<16>(y + 3 * d);
    const auto low01 = chosen<0, 4, 1, 5>(row0, row1), high01 = chosen<2, 6, 3, 7>(row0, row1);
    const auto low23 = chosen<0, 4, 1, 5>(row2, row3), high23 = chosen<2, 6, 3, 7>(row2, row3);
    store(panel, chosen<0, 1, 4, 5>(low01, low23));
    store(panel + kPanel<float>, chosen<2, 3, 6, 7>(low01, low23));
    store(panel + 2 * kPanel<float>, chosen<0, 1, 4, 5>(high01, high23));
    store(panel + 3 * kPanel<float>, chosen<2, 3, 6, 7>(high01, high23));
}

inline void transpose_square(const double* y, int64_t d, double* panel) {
    const auto row0 = load<16>(y), row1 = load<16>(y + d);
    store(panel, chosen<0, 2>(row0, row1));
    store(panel + kPanel<double>, chosen<1, 3>(row0, row1));
}

// The shape of the sums that stay in registers: at most 12 or 6 rows by some vectors, which leaves
// a few registers to what they are made of. Vectors are as wide as registers: GCC takes wider ones
// through memory.
template <InstructionSet kSet, typename T>
struct Shape {
    using Vector = typename VectorOf<T, kRegisterBytes<kSet>>::type;
    static constexpr int kMostRows = kSet == InstructionSet::avx512 ? 12 : 6;
    static constexpr int kVectors = kSet == InstructionSet::avx512 ? 2 : kRegisters<kSet> / 8;
    static constexpr int kLanes = kRegisterBytes<kSet> / sizeof(T);
    static constexpr int kColumns = kVectors * kLanes;
    static_assert(kPanel<T> % kColumns == 0);
};

// Dimensions that are added up one after another: the rounding of a sum grows with their number.
constexpr int64_t kSlice = 256;

// kRows rows of x with kColumns columns of a panel.
template <int kRows, typename Shape, typename T>
FGSBIR_INLINE inline void multiply_tile(const T* x, int64_t x_stride, int64_t d, const T* panel,
                                        T* out, int64_t stride, bool add) {
    using Vector = typename Shape::Vector;
    constexpr int kVectors = Shape::kVectors, kLanes = Shape::kLanes;
    int64_t first = 0;
    do {
        const int64_t end = std::min(d, first + kSlice);
        Vector sums[kRows][kVectors] = {};
        for (int64_t k = first; k < end; ++k) {
            Vector column[kVectors];
            for (int v = 0; v < kVectors; ++v) {
                column[v] = load<sizeof(Vector)>(panel + k * kPanel<T> + v * kLanes);
            }
#pragma GCC unroll 16
            for (int r = 0; r < kRows; ++r) {
                const T own = x[r * x_stride + k];
                for (int v = 0; v < kVectors; ++v) sums[r][v] += own * column[v];
            }
        }
        for (int r = 0; r < kRows; ++r) {
            for (int v = 0; v < kVectors; ++v) {
                T* to = out + r * stride + v * kLanes;
                store(to, add ? sums[r][v] + load<sizeof(Vector)>(to) : sums[r][v]);
            }
        }
        first = end;
        add = true;
    } while (first < d);
}

}  // namespace

template <typename T>
void pack_panel(const T* y, int64_t rows, int64_t d, T* panel) {
    constexpr int64_t kSize = kSquare<T>;
    const int64_t whole_rows = rows / kSize * kSize, whole = d / kSize * kSize;
    for (int64_t k = 0; k < whole; k += kSize) {
        for (int64_t j = 0; j < whole_rows; j += kSize) {
            transpose_square(y + j * d + k, d, panel + k * kPanel<T> + j);
        }
    }
    for (int64_t j = 0; j < kPanel<T>; ++j) {
        for (int64_t k = j < whole_rows ? whole : 0; k < d; ++k) {
            panel[k * kPanel<T> + j] = j < rows ? y[j * d + k] : T(0);
        }
    }
}

template <typename T>
void multiply_packed(const T* x, int64_t x_stride, int64_t rows, int64_t d, const T* packed,
                     int64_t panels, T* out, int64_t stride, bool add) {
    run_for_set([&](auto set) FGSBIR_INLINE {
        using Sums = Shape<decltype(set)::value, T>;
        int64_t row = 0;
        // As many groups of so many rows as are left.
        const auto multiply = [&](auto count) FGSBIR_INLINE {
            constexpr int kRows = decltype(count)::value;
            for (; row + kRows <= rows; row += kRows) {
                for (int64_t p = 0; p < panels; ++p) {
                    for (int64_t c = 0; c < kPanel<T>; c += Sums::kColumns) {
                        multiply_tile<kRows, Sums>(
                            x + row * x_stride, x_stride, d, packed + p * d * kPanel<T> + c,
                            out + row * stride + p * kPanel<T> + c, stride, add);
                    }
                }
            }
        };
        multiply(std::integral_constant<int, Sums::kMostRows>{});
        if constexpr (Sums::kMostRows > 8) multiply(std::integral_constant<int, 8>{});
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
                                  int64_t, bool);                                             \
    template void multiply_few(const T*, int64_t, int64_t, const T*, int64_t, T*, int64_t);
FGSBIR_INSTANTIATE(float)
FGSBIR_INSTANTIATE(double)
#undef FGSBIR_INSTANTIATE

}  // namespace fgsbir::cpu
