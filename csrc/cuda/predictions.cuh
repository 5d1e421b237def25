// Attribute probabilities predicted by logits: their distance D, the loss L_p, and their
// derivatives.
#pragma once

#include "../ranking.h"
#include "numeric.cuh"

namespace fgsbir::cuda {

// Probability and its complement, each to full relative precision.
template <typename T>
struct Probability {
    T yes, no;
    __device__ T slope() const { return yes * no; }
};

template <typename T>
__device__ inline Probability<T> probability(T logit) {
    const T e = std::exp(-std::abs(logit));
    const T large = 1 / (1 + e), small = e / (1 + e);
    return logit < 0 ? Probability<T>{small, large} : Probability<T>{large, small};
}

// What one attribute adds to D between the probability a of a sketch and the logit y of a photo.
template <typename T>
__device__ inline T predicted_difference(const Probability<T>& a, T y, AttributeMetric metric) {
    if (metric == AttributeMetric::cross_entropy) {
        return a.yes * softplus(-y) + (1 - a.yes) * softplus(y);
    }
    const T difference = a.yes - probability(y).yes;
    return difference * difference;
}

// D, given the sum of what the k attributes add.
template <typename T>
__device__ inline T predicted_distance_of(T sum, int64_t k, AttributeMetric metric) {
    if (metric == AttributeMetric::sqeuclidean) return sum;
    if (metric == AttributeMetric::euclidean) return std::sqrt(sum);
    return sum / static_cast<T>(k > 0 ? k : 1);
}

// What the gradient of an attribute is multiplied with, at distance D; the factor is D's own
// gradient.
template <typename T>
__device__ inline T attribute_slope(T factor, T distance, int64_t k, AttributeMetric metric) {
    if (metric == AttributeMetric::cross_entropy) return factor / static_cast<T>(k > 0 ? k : 1);
    if (metric == AttributeMetric::sqeuclidean) return 2 * factor;
    return distance == 0 ? T(0) : factor / distance;
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
