// The rankings of Eq. 1 as functions of the distances of a triplet, for both backends.
#pragma once

#include <cmath>

#include "ops.h"

#ifdef __CUDACC__
#define FGSBIR_HOST_DEVICE __host__ __device__ inline
#else
#define FGSBIR_HOST_DEVICE inline
#endif

namespace fgsbir {

// log(1 + exp(x)).
template <typename T>
FGSBIR_HOST_DEVICE T softplus(T x) {
    return (x > 0 ? x : T(0)) + std::log1p(std::exp(-std::abs(x)));
}

template <typename T>
FGSBIR_HOST_DEVICE T sigmoid(T x) {
    const T e = std::exp(-std::abs(x));
    return (x >= 0 ? T(1) : e) / (1 + e);
}

// [margin + x]_+ or softplus(x). Inactive only where it is known to be: a NaN is passed on.
template <typename T>
FGSBIR_HOST_DEVICE T hinge(T x, double margin, bool soft) {
    if (soft) return softplus(x);
    const T value = static_cast<T>(margin) + x;
    return value <= 0 ? T(0) : value;
}

template <typename T>
FGSBIR_HOST_DEVICE T hinge_slope(T x, double margin, bool soft) {
    if (soft) return sigmoid(x);
    return static_cast<T>(margin) + x <= 0 ? T(0) : T(1);
}

// The terms that rank. Without predictions only that of embeddings is written.
template <typename T>
FGSBIR_HOST_DEVICE void ranking_terms(const T (&distance)[kTripletDistances],
                                      const LossOptions& options, bool predictions,
                                      T (&term)[kTerms]) {
    term[kTriplet] =
        hinge(distance[kPositive] - distance[kNegative], options.margin, options.soft_margin);
    if (!predictions) return;
    term[kAttributeRank] = hinge(distance[kPositivePredicted] - distance[kNegativePredicted],
                                 options.attribute_margin, options.soft_attribute_margin);
}

// The gradients of distances, from those of the terms: of_term(kTriplet) and so on.
template <typename T, typename OfTerm>
FGSBIR_HOST_DEVICE void ranking_gradients(const T (&distance)[kTripletDistances],
                                          const LossOptions& options, const OfTerm& of_term,
                                          T (&grad)[kTripletDistances]) {
    const T triplet = of_term(kTriplet) * hinge_slope(distance[kPositive] - distance[kNegative],
                                                      options.margin, options.soft_margin);
    const T attribute_rank =
        of_term(kAttributeRank) *
        hinge_slope(distance[kPositivePredicted] - distance[kNegativePredicted],
                    options.attribute_margin, options.soft_attribute_margin);
    grad[kPositive] = triplet;
    grad[kNegative] = -triplet;
    grad[kPositivePredicted] = attribute_rank;
    grad[kNegativePredicted] = -attribute_rank;
}

}  // namespace fgsbir
