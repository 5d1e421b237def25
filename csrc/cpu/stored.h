// Rows that are computed in T and lie in memory as T, as numbers of 16 bits, or as the logits of
// what is meant. They are read a few at a time, so that no converted copy of a matrix exists.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "../ops.h"
#include "isa.h"
#include "predictions.h"
#include "vec.h"
#include "vec_math.h"

namespace fgsbir::cpu {

FGSBIR_INLINE inline float float_of(uint32_t bits) {
    float x;
    std::memcpy(&x, &bits, sizeof x);
    return x;
}

struct BFloat16 {
    uint16_t bits;

    FGSBIR_INLINE operator float() const { return float_of(uint32_t{bits} << 16); }
};

struct Float16 {
    uint16_t bits;

    // By masks: of comparisons in place of them GCC makes branches.
    FGSBIR_INLINE operator float() const {
        const uint32_t sign = (bits & 0x8000u) << 16, rest = (bits & 0x7fffu) << 13;
        const uint32_t denormal = 0u - (rest < 0x00800000u);
        const uint32_t special = 0u - (rest >= 0x0f800000u);  // infinities and NaN
        // The exponent has another bias. A denormal number gets a leading 1, which is then taken
        // off: as a denormal number of float it might be rounded to 0.
        const uint32_t bias = 0x38000000u + (special & 0x38000000u) + (denormal & 0x00800000u);
        const float size = float_of(rest + bias) - float_of(denormal & 0x38800000u);
        return float_of(bits_of(size) | sign);
    }
};

// So many elements as fill a vector of T.
template <typename T, typename E>
FGSBIR_INLINE inline Vec<T> load_as(const E* from) {
    if constexpr (std::is_same_v<T, E>) return load(from);
    alignas(64) T lanes[kLanes<T>];
#pragma omp simd
    for (int64_t l = 0; l < kLanes<T>; ++l) lanes[l] = static_cast<T>(from[l]);
    return load(lanes);
}

// What is computed of what lies in memory.
enum class Meaning { numbers, probabilities };

template <typename T>
class Stored {
  public:
    int64_t d;  // columns

    // Of T, or of bfloat16 or float16 where T is float; probabilities are stored as logits.
    Stored(const void* data, int64_t d, ScalarType type, Meaning meaning = Meaning::numbers)
        : d(d), data_(data), type_(type), meaning_(meaning) {}
    Stored(const T* data, int64_t d, Meaning meaning = Meaning::numbers)
        : Stored(data, d, std::is_same_v<T, double> ? ScalarType::float64 : ScalarType::float32,
                 meaning) {}

    // Whether rows are computed, and not where they lie.
    bool computed() const { return meaning_ == Meaning::probabilities || is_short(); }

    // `count` rows from `first`, where they lie or else in `scratch`.
    const T* rows(int64_t first, int64_t count, T* scratch) const {
        if (!computed()) return at(first);
        run([&]() FGSBIR_INLINE { compute(first, count, scratch); });
        return scratch;
    }

    // The same within a body that is compiled for an instruction set.
    FGSBIR_INLINE const T* rows_here(int64_t first, int64_t count, T* scratch) const {
        if (!computed()) return at(first);
        compute(first, count, scratch);
        return scratch;
    }

    // Whether a NaN is among what lies in memory of some rows.
    FGSBIR_INLINE bool have_nan(int64_t first, int64_t count) const {
        int32_t nans = 0;
        visit(first, [&](const auto* elements) FGSBIR_INLINE {
#pragma omp simd reduction(| : nans)
            for (int64_t i = 0; i < count * d; ++i) {
                const T element = static_cast<T>(elements[i]);
                nans |= element != element;
            }
        });
        return nans != 0;
    }

    // f of a pointer to a row, as what lies in memory.
    template <typename F>
    FGSBIR_INLINE void visit(int64_t row, const F& f) const {
        if (type_ == ScalarType::bfloat16) {
            f(static_cast<const BFloat16*>(data_) + row * d);
        } else if (type_ == ScalarType::float16) {
            f(static_cast<const Float16*>(data_) + row * d);
        } else {
            f(at(row));
        }
    }

  private:
    bool is_short() const { return type_ == ScalarType::bfloat16 || type_ == ScalarType::float16; }

    const T* at(int64_t first) const { return static_cast<const T*>(data_) + first * d; }

    FGSBIR_INLINE void compute(int64_t first, int64_t count, T* out) const {
        visit(first, [=](const auto* elements) FGSBIR_INLINE {
            if (meaning_ == Meaning::numbers) {
                widen(elements, count * d, out);
            } else {
                probabilities(elements, count * d, out);
            }
        });
    }

    template <typename E>
    FGSBIR_INLINE static void probabilities(const E* elements, int64_t count, T* out) {
        constexpr int64_t kAtOnce = 16 * kLanes<T>;
        alignas(64) T logits[kAtOnce];
        for (int64_t at = 0; at < count; at += kAtOnce) {
            const int64_t size = std::min(kAtOnce, count - at);
            widen(elements + at, size, logits);
            probabilities(logits, size, out + at);
        }
    }

    template <typename E>
    FGSBIR_INLINE static void widen(const E* elements, int64_t count, T* out) {
#pragma omp simd
        for (int64_t i = 0; i < count; ++i) out[i] = static_cast<T>(elements[i]);
    }

    // By vectors alone: equal logits have equal probabilities wherever they stand.
    FGSBIR_INLINE static void probabilities(const T* logits, int64_t count, T* out) {
        by_parts<T>(count, [=](const Part<T>& part) FGSBIR_INLINE {
            part.store(out, quick_sigmoid_of(part.load(logits)));
        });
    }

    const void* data_;
    ScalarType type_;
    Meaning meaning_;
};

}  // namespace fgsbir::cpu
