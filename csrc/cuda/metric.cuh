// Distances of embeddings on the device: a struct for each metric, and the choice among them.
//
// Every metric can be computed from an inner product and two norms, and from the difference of two
// rows. Each operation is rounded by itself where bits must not depend on what it is compiled into.
#pragma once

#include "numeric.cuh"

namespace fgsbir::cuda {

struct SquaredEuclidean {
    // Whether rows are normalised. Their norms below are then inverse, 0 for a zero row, else
    // squared.
    static constexpr bool kUnitRows = false;
    // Whether the distance is the root of what a product gives. The struct that with_unrooted()
    // has for it then gives the square itself.
    static constexpr bool kRoot = false;

    // The distance or what it is a root of, which rounding may leave below 0.
    template <typename T>
    __device__ static T from_product(T product_, T x_norm, T y_norm) {
        return std::fma(T(-2), product_, x_norm + y_norm);
    }

    // The size of what from_product subtracts: a result far below has lost digits.
    template <typename T>
    __device__ static T magnitude(T x_norm, T y_norm) {
        return x_norm + y_norm;
    }

    // Whether the distance to another such row can neither overflow nor be NaN.
    template <typename T>
    __device__ static bool is_tame(T norm) {
        return norm < kLargest<T> * kLargest<T>;
    }

    // The distance, given the sum of squared differences, and the norms of unit rows.
    template <typename T>
    __device__ static T from_square(T squared, T, T) {
        return squared;
    }

    // The s in factor * d distance / dx = s (x - y), or 0 where there is no derivative; of unit
    // rows, before the part along x is removed.
    template <typename T>
    __device__ static T slope(T factor, T) {
        return 2 * factor;
    }

  private:
    template <typename T>
    static constexpr T kLargest = T(1ull << 50);
};

struct Euclidean : SquaredEuclidean {
    static constexpr bool kRoot = true;

    template <typename T>
    __device__ static T from_square(T squared, T, T) {
        return std::sqrt(squared);
    }

    template <typename T>
    __device__ static T slope(T factor, T distance) {
        return distance == 0 ? T(0) : factor / distance;
    }
};

// 1 - cos(x, y), half the squared Euclidean distance of x / |x| and y / |y|; 1 if a row is zero.
struct Cosine {
    static constexpr bool kUnitRows = true;
    static constexpr bool kRoot = false;

    template <typename T>
    __device__ static T from_product(T product_, T x_norm, T y_norm) {
        return std::fma(-product(product_, x_norm), y_norm, T(1));
    }

    template <typename T>
    __device__ static T magnitude(T, T) {
        return 1;
    }

    template <typename T>
    __device__ static bool is_tame(T norm) {
        return norm == 0 || (norm > 1 / T(1ull << 50) && norm - norm == 0);
    }

    template <typename T>
    __device__ static T from_square(T squared, T x_norm, T y_norm) {
        const bool zero_row = x_norm == 0 || y_norm == 0;
        return zero_row ? 1 + 0 * (x_norm + y_norm) : squared / 2;  // NaN for a NaN
    }

    template <typename T>
    __device__ static T slope(T factor, T) {
        return factor;
    }

    // (u, u - v) of unit rows u and v at a distance. A metric whose slope has no bound needs a more
    // accurate formula.
    template <typename T>
    __device__ static T along(T distance) {
        return distance;
    }
};

// f of the metric's struct.
#pragma nv_exec_check_disable
template <typename F>
__host__ __device__ inline auto with_metric(Metric metric, const F& f) {
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

// The same, or the struct of what the distance is a root of.
template <typename F>
__device__ inline auto with_unrooted(Metric metric, const F& f) {
    switch (metric) {
        case Metric::sqeuclidean:
        case Metric::euclidean:
            break;
        case Metric::cosine:
            return f(Cosine());
    }
    return f(SquaredEuclidean());
}

__host__ __device__ inline bool has_unit_rows(Metric metric) {
    return with_metric(metric, [](auto of) { return decltype(of)::kUnitRows; });
}

__host__ __device__ inline bool has_root(Metric metric) {
    return with_metric(metric, [](auto of) { return decltype(of)::kRoot; });
}

// --- Distances from products ---------------------------------------------------------------------

template <typename T>
__device__ inline T unrooted_distance(T product, T x_norm, T y_norm, Metric metric) {
    return with_unrooted(metric, [=](auto of) { return of.from_product(product, x_norm, y_norm); });
}

template <typename T>
__device__ inline T distance_from_product(T product, T x_norm, T y_norm, Metric metric) {
    const T unrooted = not_below_zero(unrooted_distance(product, x_norm, y_norm, metric));
    return has_root(metric) ? std::sqrt(unrooted) : unrooted;
}

// --- Distances from rows -------------------------------------------------------------------------

// What a row is multiplied with before it is subtracted: 1 or its inverse norm.
template <typename T>
__device__ inline T row_scale(const T* norms, Metric metric, int64_t row) {
    return has_unit_rows(metric) ? norms[row] : T(1);
}

// The s in factor * d distance / dx = s (x - y); see SquaredEuclidean.
template <typename T>
__device__ inline T slope(T factor, T distance, Metric metric) {
    return with_metric(metric, [=](auto of) { return of.slope(factor, distance); });
}

// (u, u - v) of unit rows at a distance; 0 for a metric without unit rows.
template <typename T>
__device__ inline T along(T distance, Metric metric) {
    return with_metric(metric, [=](auto of) {
        if constexpr (decltype(of)::kUnitRows) return of.along(distance);
        return T(0);
    });
}

// The distance, given the sum of squared differences of the scaled rows.
template <typename T>
__device__ inline T distance_of(T squared, T x_scale, T y_scale, Metric metric) {
    return with_metric(metric, [=](auto of) { return of.from_square(squared, x_scale, y_scale); });
}

// The sum of squared differences of two scaled rows, by one thread alone: where an inner product
// overflowed.
template <typename S>
__device__ inline Compute<S> squared_difference(const S* x, const S* y, int64_t d,
                                                Compute<S> scale_x, Compute<S> scale_y) {
    Compute<S> squared = 0;
#pragma unroll 1
    for (int64_t k = 0; k < d; ++k) {
        const Compute<S> difference =
            product(to_compute(x[k]), scale_x) - product(to_compute(y[k]), scale_y);
        squared += difference * difference;
    }
    return squared;
}

template <typename S>
__device__ inline Compute<S> distance_of_rows(const S* x, const S* y, int64_t d, Compute<S> scale_x,
                                              Compute<S> scale_y, Metric metric) {
    return distance_of(squared_difference(x, y, d, scale_x, scale_y), scale_x, scale_y, metric);
}

// The same by a whole warp, in every lane.
template <typename S>
__device__ inline Compute<S> distance_of_rows_by_warp(const S* x, const S* y, int64_t d,
                                                      Compute<S> scale_x, Compute<S> scale_y,
                                                      Metric metric) {
    Compute<S> squared = 0;
    for (int64_t k = threadIdx.x % kWarp; k < d; k += kWarp) {
        const Compute<S> difference =
            product(to_compute(x[k]), scale_x) - product(to_compute(y[k]), scale_y);
        squared += difference * difference;
    }
    return distance_of(warp_sum(squared), scale_x, scale_y, metric);
}

}  // namespace fgsbir::cuda
