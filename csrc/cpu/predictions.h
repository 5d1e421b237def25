// Attribute probabilities predicted by logits: their distance D, the loss L_p, and what both add to
// gradients, a vector of attributes at a time. A Prediction is one exponential, which all that is
// made of it shares.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "../ops.h"
#include "annotations.h"
#include "vec.h"
#include "vec_math.h"

namespace fgsbir::cpu {

// The vectors that cover n elements of a row. The last one is moved back to end with the row, over
// elements that have been met, so that it is read and written like all others; a row shorter than
// a vector is copied.
template <typename T>
struct Part {
    int64_t at;          // where the vector begins
    int64_t begin, end;  // which of its lanes are new

    FGSBIR_INLINE Vec<T> load(const T* row) const {
        if (end == kLanes<T>) return cpu::load(row + at);
        Vec<T> v = {};
        std::memcpy(&v, row, end * sizeof(T));
        return v;
    }

    // Annotated attributes as 1, 0 and -1. By way of bits, since of a loop over bytes and wider
    // lanes GCC makes vectors of a quarter, which the processor is slow to put together.
    FGSBIR_INLINE Vec<T> load_annotation(const int8_t* row) const {
        uint32_t yes = 0, unknown = 0;
        for (int64_t l = 0; l < end; l += 8) {
            const EightAnnotations eight(row + at + l, end - l);
            yes |= eight.yes() << l;
            unknown |= eight.unknown() << l;
        }
        alignas(64) T lanes[kLanes<T>];
#pragma omp simd
        for (int32_t l = 0; l < static_cast<int32_t>(kLanes<T>); ++l) {
            lanes[l] = static_cast<T>(static_cast<int32_t>(yes >> l & 1) -
                                      static_cast<int32_t>(unknown >> l & 1));
        }
        return cpu::load(lanes);
    }

    FGSBIR_INLINE void store(T* row, Vec<T> v) const {
        if (end == kLanes<T>) return cpu::store(row + at, v);
        std::memcpy(row, &v, end * sizeof(T));
    }

    // 0 in the lanes that are not new.
    FGSBIR_INLINE Vec<T> only_new(Vec<T> v) const {
        if (begin == 0 && end == kLanes<T>) return v;
        alignas(64) T lanes[kLanes<T>];
        cpu::store(lanes, v);
#pragma omp simd
        for (int64_t l = 0; l < kLanes<T>; ++l) lanes[l] = l < begin || l >= end ? 0 : lanes[l];
        return cpu::load(lanes);
    }
};

template <typename T, typename F>
FGSBIR_INLINE inline void by_parts(int64_t n, const F& f) {
    const int64_t last = n - kLanes<T>;
    for (int64_t at = 0; at < n; at += kLanes<T>) {
        f(last < 0     ? Part<T>{0, 0, n}
          : at <= last ? Part<T>{at, 0, kLanes<T>}
                       : Part<T>{last, at - last, kLanes<T>});
    }
}

template <typename T>
struct Prediction {
    Vec<T> logit, decay, p;  // decay = exp(-|logit|)

    FGSBIR_INLINE explicit Prediction(Vec<T> logits)
        : logit(logits), decay(decay_of(logits)), p(sigmoid_of<T>(logits, decay)) {}
};

// What attributes add to D between a sketch and a photo; predicted_distance makes D of the sum.
template <typename T>
FGSBIR_INLINE inline Vec<T> distance_terms(const Prediction<T>& sketch, const Prediction<T>& photo,
                                           AttributeMetric metric) {
    if (metric == AttributeMetric::cross_entropy) {
        const Vec<T> minus_log_p = softplus_of<T>(-photo.logit, photo.decay);
        const Vec<T> minus_log_not_p = softplus_of<T>(photo.logit, photo.decay);
        return sketch.p * minus_log_p + (1 - sketch.p) * minus_log_not_p;
    }
    const Vec<T> difference = sketch.p - photo.p;
    return difference * difference;
}

template <typename T>
FGSBIR_INLINE inline T predicted_distance(Vec<T> terms, int64_t k, AttributeMetric metric) {
    const T total = sum<T>(terms);
    if (metric == AttributeMetric::cross_entropy) return k == 0 ? T(0) : total / static_cast<T>(k);
    return metric == AttributeMetric::sqeuclidean ? total : std::sqrt(total);
}

template <typename T>
FGSBIR_INLINE inline T predicted_distance(const T* sketch_logits, const T* photo_logits, int64_t k,
                                          AttributeMetric metric) {
    Vec<T> terms = {};
    by_parts<T>(k, [&](const Part<T>& part) FGSBIR_INLINE {
        const Prediction<T> sketch(part.load(sketch_logits)), photo(part.load(photo_logits));
        terms += part.only_new(distance_terms(sketch, photo, metric));
    });
    return predicted_distance<T>(terms, k, metric);
}

// What distance_gradient is multiplied with, where distance = D and factor is D's own gradient.
template <typename T>
inline T distance_slope(T distance, T factor, int64_t k, AttributeMetric metric) {
    if (factor == 0) return 0;  // and not NaN where distance is
    if (metric == AttributeMetric::cross_entropy) return factor / static_cast<T>(k);
    if (distance == 0) return 0;
    return metric == AttributeMetric::sqeuclidean ? 2 * factor : factor / distance;
}

template <typename T>
FGSBIR_INLINE inline Vec<T> distance_gradient(const Prediction<T>& own, const Prediction<T>& other,
                                              AttributeMetric metric, bool own_is_photo, T slope) {
    if (metric != AttributeMetric::cross_entropy) {
        return slope * (own.p - other.p) * own.p * (1 - own.p);
    }
    if (own_is_photo) return slope * (own.p - other.p);
    return -slope * other.logit * own.p * (1 - own.p);
}

// What attributes add to L_p, the binary cross-entropy of predictions against an annotation, before
// the mean over those that are known.
template <typename T>
FGSBIR_INLINE inline Vec<T> loss_terms(const Prediction<T>& own, Vec<T> annotation) {
    // softplus(-logit) where 1 is given, softplus(logit) where 0 is: [x]_+ and what rounds it off.
    const Vec<T> corner = by_lane<T>(annotation, own.logit, [](T given, T logit) FGSBIR_INLINE {
        const T wrong = given == 0 ? logit : -logit;
        return given < 0 || wrong < 0 ? T(0) : wrong;
    });
    return corner + by_lane<T>(annotation, log_one_plus(own.decay),
                               [](T given, T log) FGSBIR_INLINE { return given < 0 ? T(0) : log; });
}

template <typename T>
FGSBIR_INLINE inline Vec<T> loss_gradient(const Prediction<T>& own, Vec<T> annotation, T factor) {
    return by_lane<T>(annotation, own.p, [=](T given, T p) FGSBIR_INLINE {
        return given < 0 ? T(0) : factor * (p - given);
    });
}

// What the mean of L_p divides by: 1 where no attribute is known, since then the sum is 0.
template <typename T>
FGSBIR_INLINE inline T known_attributes(const int8_t* attributes, int64_t k) {
    int64_t known = k;
    for (int64_t i = 0; i < k; i += 8) {
        known -= __builtin_popcount(EightAnnotations(attributes + i, k - i).unknown());
    }
    return static_cast<T>(known == 0 ? 1 : known);
}

}  // namespace fgsbir::cpu
