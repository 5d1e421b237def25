// The terms of Eq. 1 as functions of a number, and how their gradients are weighted.
#pragma once

#include "numeric.cuh"

namespace fgsbir::cuda {

// [margin + x]_+ or softplus(x). Inactive only where it is known to be: a NaN is passed on.
template <typename T>
__device__ inline T hinge(T x, double margin, bool soft) {
    if (soft) return softplus(x);
    const T value = static_cast<T>(margin) + x;
    return value <= 0 ? T(0) : value;
}

template <typename T>
__device__ inline T hinge_slope(T x, double margin, bool soft) {
    if (soft) return probability(x).yes;
    return static_cast<T>(margin) + x <= 0 ? T(0) : T(1);
}

// Binary cross-entropy of a logit against a known answer, and its derivative.
template <typename T>
__device__ inline T cross_entropy(T logit, Answer answer) {
    return softplus(answer == Answer::yes ? -logit : logit);
}

template <typename T>
__device__ inline T cross_entropy_slope(T logit, Answer answer) {
    const Probability<T> p = probability(logit);
    return answer == Answer::yes ? -p.no : p.yes;
}

// Logits and attributes as the kernels read them.
template <typename S>
struct PredictionRows {
    bool given;
    const S* sketch_logits;  // [N, K]
    const S* photo_logits;   // [M, K]
    Array sketch_attributes;
    Array photo_attributes;
    int64_t k;

    PredictionRows() = default;
    explicit PredictionRows(const Predictions& from)
        : given(from.given),
          sketch_logits(static_cast<const S*>(from.sketch_logits)),
          photo_logits(static_cast<const S*>(from.photo_logits)),
          sketch_attributes(from.sketch_attributes),
          photo_attributes(from.photo_attributes),
          k(from.k) {}

    __device__ Compute<S> sketch(int64_t i, int64_t a) const {
        return to_compute(sketch_logits[i * k + a]);
    }
    __device__ Compute<S> photo(int64_t j, int64_t a) const {
        return to_compute(photo_logits[j * k + a]);
    }
    __device__ Answer sketch_answer(int64_t i, int64_t a) const {
        return load_attribute(sketch_attributes, i * k + a);
    }
    __device__ Answer photo_answer(int64_t j, int64_t a) const {
        return load_attribute(photo_attributes, j * k + a);
    }
};

}  // namespace fgsbir::cuda
