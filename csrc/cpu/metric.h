// Distances of embeddings on the CPU: a struct for each metric, and the choice among them.
//
// Every metric can be computed from an inner product and two norms, and from the difference of two
// rows.
#pragma once

#include <cmath>

#include "../ops.h"
#include "isa.h"

namespace fgsbir::cpu {

struct SquaredEuclidean {
    // Whether rows are normalised. Their norms below are then inverse, 0 for a zero row, else
    // squared.
    static constexpr bool kUnitRows = false;
    // Whether the distance is the root of what a product gives, its square.
    static constexpr bool kRoot = false;

    // The distance or what it is a root of, which rounding may leave below 0. V is T or a vector.
    template <typename V, typename T>
    FGSBIR_INLINE static V from_product(V product, T x_norm, V y_norm) {
        return x_norm + y_norm - 2 * product;
    }

    // The size of what from_product subtracts: a result far below has lost digits.
    template <typename V, typename T>
    FGSBIR_INLINE static V magnitude(T x_norm, V y_norm) {
        return x_norm + y_norm;
    }

    // The distance, given the sum of squared differences, and the norms of unit rows.
    template <typename T>
    FGSBIR_INLINE static T from_square(T squared, T, T) {
        return squared;
    }

    // The s in factor * d distance / dx = s (x - y), for a distance other than 0; of unit rows,
    // before the part along x is removed.
    template <typename T>
    FGSBIR_INLINE static T slope(T factor, T) {
        return 2 * factor;
    }
};

struct Euclidean : SquaredEuclidean {
    static constexpr bool kRoot = true;

    template <typename T>
    FGSBIR_INLINE static T from_square(T squared, T, T) {
        return std::sqrt(squared);
    }

    template <typename T>
    FGSBIR_INLINE static T slope(T factor, T distance) {
        return factor / distance;
    }
};

// 1 - cos(x, y), half the squared Euclidean distance of x / |x| and y / |y|; 1 if a row is zero.
struct Cosine {
    static constexpr bool kUnitRows = true;
    static constexpr bool kRoot = false;

    template <typename V, typename T>
    FGSBIR_INLINE static V from_product(V product, T x_norm, V y_norm) {
        return 1 - product * x_norm * y_norm;
    }

    template <typename V, typename T>
    FGSBIR_INLINE static V magnitude(T, V y_norm) {
        return y_norm * 0 + 1;
    }

    template <typename T>
    FGSBIR_INLINE static T from_square(T squared, T x_norm, T y_norm) {
        if (x_norm == 0 || y_norm == 0) return 1 + 0 * (x_norm + y_norm);  // NaN for a NaN
        return squared / 2;
    }

    template <typename T>
    FGSBIR_INLINE static T slope(T factor, T) {
        return factor;
    }
};

// f of the metric's struct.
template <typename F>
FGSBIR_INLINE inline auto with_metric(Metric metric, const F& f) {
    switch (metric) {
        case Metric::sqeuclidean:
            return f(SquaredEuclidean());
        case Metric::euclidean:
            return f(Euclidean());
        case Metric::cosine:
            break;
    }
    return f(Cosine());
}

}  // namespace fgsbir::cpu
