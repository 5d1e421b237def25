// Inner products of packed rows, by sums that stay in registers. This file alone is compiled with
// products and sums contracted (CMakeLists.txt).

#include "product.h"

#include <type_traits>

namespace fgsbir::cpu {
namespace {

// A vector of 16 bytes, which every x86-64 and ARM has, and the square of them that is transposed
// at once.
template <typename T>
struct Small {
    typedef T type __attribute__((vector_size(16)));
    typedef T in_memory __attribute__((vector_size(16), aligned(sizeof(T))));
};
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

template <typename T>
inline auto load_small(const T* from) {
    return typename Small<T>::type(*reinterpret_cast<const typename Small<T>::in_memory*>(from));
}

template <typename T>
inline void store_small(T* to, typename Small<T>::type v) {
    *reinterpret_cast<typename Small<T>::in_memory*>(to) = v;
}

// panel[k, j] = y[j, k] of a square.
inline void transpose_square(const float* y, int64_t d, float* panel) {
    const auto a = load_small(y), b = load_small(y + d);
    const auto c = load_small(y + 2 * d), e = load_small(y + 3 * d);
    const auto low_ab = chosen<0, 4, 1, 5>(a, b), high_ab = chosen<2, 6, 3, 7>(a, b);
    const auto low_ce = chosen<0, 4, 1, 5>(c, e), high_ce = chosen<2, 6, 3, 7>(c, e);
    store_small(panel, chosen<0, 1, 4, 5>(low_ab, low_ce));
    store_small(panel + kPanel<float>, chosen<2, 3, 6, 7>(low_ab, low_ce));
    store_small(panel + 2 * kPanel<float>, chosen<0, 1, 4, 5>(high_ab, high_ce));
    store_small(panel + 3 * kPanel<float>, chosen<2, 3, 6, 7>(high_ab, high_ce));
}

inline void transpose_square(const double* y, int64_t d, double* panel) {
    const auto a = load_small(y), b = load_small(y + d);
    store_small(panel, chosen<0, 2>(a, b));
    store_small(panel + kPanel<double>, chosen<1, 3>(a, b));
}

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

// Dimensions that are added up one after another: the rounding of a sum grows with their number.
constexpr int64_t kSlice = 256;

// kRows rows of x with kColumns columns of a panel.
template <int kRows, typename Shape, typename T>
FGSBIR_INLINE inline void multiply_tile(const T* x, int64_t x_stride, int64_t d, const T* panel,
                                        T* out, int64_t stride) {
    using Vector = typename Shape::Vector;
    using InMemory = typename Shape::InMemory;
    constexpr int kVectors = Shape::kVectors, kLanes = Shape::kLanes;
    int64_t first = 0;
    do {
        const int64_t end = std::min(d, first + kSlice);
        Vector sums[kRows][kVectors] = {};
        for (int64_t k = first; k < end; ++k) {
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
                InMemory* to = reinterpret_cast<InMemory*>(out + r * stride + v * kLanes);
                *to = first == 0 ? sums[r][v] : sums[r][v] + *to;
            }
        }
        first = end;
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
