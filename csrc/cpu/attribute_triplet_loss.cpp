// The loss of Eq. 1 over chosen triplets, and all of its gradients.
//
// Forward reads three rows of embeddings and of logits an anchor. Backward writes every row of
// every gradient once: sketch rows anchor by anchor, photo rows by gathering, for each photo, the
// anchors that chose it in ascending order, so that sums have one fixed order and no two threads
// meet.

#include <vector>

#include "../ranking.h"
#include "parallel.h"
#include "predictions.h"
#include "rows.h"

namespace fgsbir::cpu {
namespace {

// What the gradients of the terms of one anchor are multiplied with, for both chosen photos.
template <typename T>
struct GradientFactors {
    T triplet[2], attribute_rank[2];
    T prediction[3];  // sketch, positive, negative
};

template <typename T>
GradientFactors<T> gradient_factors(int64_t i, int64_t n, int64_t k, const LossOptions& options,
                                    const T* grad_total, const T* grad_parts, const T* distances,
                                    T scale) {
    const bool per_anchor = options.reduction == Reduction::none;
    T of_term[kTerms];
    for (int t = 0; t < kTerms; ++t) {
        T grad = 0;
        if (grad_total != nullptr) {
            grad += grad_total[per_anchor ? i : 0] * static_cast<T>(options.lambda[t]);
        }
        if (grad_parts != nullptr) grad += grad_parts[per_anchor ? t * n + i : t];
        of_term[t] = grad * scale;
    }
    T distance[kTripletDistances], of_distance[kTripletDistances];
    for (int t = 0; t < kTripletDistances; ++t) distance[t] = distances[t * n + i];
    ranking_gradients(distance, options, [&](Term term) { return of_term[term]; }, of_distance);
    const auto predicted = [&](TripletDistance of) {
        return distance_slope(distance[of], of_distance[of], k, options.attribute_metric);
    };
    return {{of_distance[kPositive], of_distance[kNegative]},
            {predicted(kPositivePredicted), predicted(kNegativePredicted)},
            {of_term[kSketchAttribute], of_term[kPositiveAttribute], of_term[kNegativeAttribute]}};
}

// For each photo the triplets that hold it: 2 * anchor, plus 1 as the negative, ascending.
struct References {
    std::vector<int64_t> begin, triplets;

    References(const int64_t* positive, const int64_t* negative, int64_t n, int64_t m)
        : begin(m + 1, 0) {
        int64_t valid = 0;
        for (int64_t i = 0; i < n; ++i) {
            if (positive[i] < 0) continue;
            ++begin[positive[i]];
            ++begin[negative[i]];
            ++valid;
        }
        triplets.resize(2 * valid);
        for (int64_t j = 0, total = 0; j <= m; ++j) begin[j] = total += begin[j];
        for (int64_t i = n - 1; i >= 0; --i) {
            if (positive[i] < 0) continue;
            triplets[--begin[negative[i]]] = 2 * i + 1;
            triplets[--begin[positive[i]]] = 2 * i;
        }
    }
};

}  // namespace

template <typename T>
void attribute_triplet_loss(const Mining<T>& mining, const Predictions<T>& predictions,
                            const LossOptions& options, T* total, T* parts, int64_t* positive,
                            int64_t* negative, T* distances, T* scale, int threads) {
    mine_batch_hard(mining, positive, negative, threads);
    const int64_t n = mining.n, d = mining.d, k = predictions.k;
    std::vector<T> terms(kTerms * n);

    parallel_rows(n, grain_of(2 * d + 64 * k), threads, [&](int64_t i) FGSBIR_INLINE {
        T term[kTerms] = {}, distance[kTripletDistances] = {};
        const int64_t pos = positive[i], neg = negative[i];
        if (pos >= 0) {
            const T* s = mining.sketch + i * d;
            distance[kPositive] = embedding_distance(s, mining.photo + pos * d, d, options.metric);
            distance[kNegative] = embedding_distance(s, mining.photo + neg * d, d, options.metric);
        }
        if (pos >= 0 && predictions.given) {
            const T* logits[3] = {predictions.sketch_logits + i * k,
                                  predictions.photo_logits + pos * k,
                                  predictions.photo_logits + neg * k};
            const int8_t* attributes[3] = {predictions.sketch_attributes + i * k,
                                           predictions.photo_attributes + pos * k,
                                           predictions.photo_attributes + neg * k};
            const AttributeMetric metric = options.attribute_metric;
            Vec<T> predicted[2] = {}, losses[3] = {};
            by_parts<T>(k, [&](const Part<T>& part) FGSBIR_INLINE {
                const Prediction<T> of[3] = {Prediction<T>(part.load(logits[0])),
                                             Prediction<T>(part.load(logits[1])),
                                             Prediction<T>(part.load(logits[2]))};
                for (int side = 0; side < 2; ++side) {
                    predicted[side] += part.only_new(distance_terms(of[0], of[1 + side], metric));
                }
                for (int r = 0; r < 3; ++r) {
                    losses[r] +=
                        part.only_new(loss_terms(of[r], part.load_annotation(attributes[r])));
                }
            });
            for (int side = 0; side < 2; ++side) {
                distance[kPositivePredicted + side] =
                    predicted_distance<T>(predicted[side], k, metric);
            }
            for (int r = 0; r < 3; ++r) {
                term[kSketchAttribute + r] =
                    sum<T>(losses[r]) / known_attributes<T>(attributes[r], k);
            }
        }
        if (pos >= 0) ranking_terms(distance, options, predictions.given, term);
        for (int t = 0; t < kTerms; ++t) terms[t * n + i] = term[t];
        for (int t = 0; t < kTripletDistances; ++t) distances[t * n + i] = distance[t];
    });

    if (options.reduction == Reduction::none) {
        *scale = 1;
        for (int64_t i = 0; i < n; ++i) {
            total[i] = 0;
            for (int t = 0; t < kTerms; ++t) {
                parts[t * n + i] = terms[t * n + i];
                total[i] += static_cast<T>(options.lambda[t]) * terms[t * n + i];
            }
        }
        return;
    }
    int64_t valid = 0;
    for (int64_t i = 0; i < n; ++i) valid += positive[i] >= 0;
    const bool mean = options.reduction == Reduction::mean && valid > 0;
    const double factor = mean ? 1.0 / static_cast<double>(valid) : 1.0;
    double sum = 0;
    for (int t = 0; t < kTerms; ++t) {
        double part = 0;
        for (int64_t i = 0; i < n; ++i) part += terms[t * n + i];
        parts[t] = static_cast<T>(part * factor);
        sum += options.lambda[t] * part * factor;
    }
    *scale = static_cast<T>(factor);
    *total = static_cast<T>(sum);
}

template <typename T>
void attribute_triplet_loss_backward(const ChosenTriplets<T>& triplets,
                                     const Predictions<T>& predictions, const LossOptions& options,
                                     const T* grad_total, const T* grad_parts, T* grad_sketch,
                                     T* grad_photo, T* grad_sketch_logits, T* grad_photo_logits,
                                     int threads) {
    const int64_t n = triplets.n, m = triplets.m, d = triplets.d, k = predictions.k;
    const T* distances = triplets.distances;
    const Metric metric = options.metric;
    const AttributeMetric attribute_metric = options.attribute_metric;
    const References references(triplets.positive, triplets.negative, n, m);
    std::vector<GradientFactors<T>> factors(n);

    parallel_rows(n, grain_of(4 * d + 64 * k), threads, [&](int64_t i) FGSBIR_INLINE {
        T* grad = grad_sketch + i * d;
        std::fill_n(grad, d, T(0));
        const int64_t chosen[2] = {triplets.positive[i], triplets.negative[i]};
        if (chosen[0] < 0) {
            if (predictions.given) std::fill_n(grad_sketch_logits + i * k, k, T(0));
            return;
        }
        factors[i] =
            gradient_factors(i, n, k, options, grad_total, grad_parts, distances, *triplets.scale);
        const GradientFactors<T>& f = factors[i];
        for (int side = 0; side < 2; ++side) {
            if (f.triplet[side] == 0) continue;
            add_embedding_gradient(triplets.sketch + i * d, triplets.photo + chosen[side] * d, d,
                                   metric, distances[(kPositive + side) * n + i], f.triplet[side],
                                   grad);
        }
        if (!predictions.given) return;
        const int8_t* attributes = predictions.sketch_attributes + i * k;
        const T of_loss = f.prediction[0] / known_attributes<T>(attributes, k);
        by_parts<T>(k, [&](const Part<T>& part) FGSBIR_INLINE {
            const Prediction<T> own(part.load(predictions.sketch_logits + i * k));
            Vec<T> total = {};
            for (int side = 0; side < 2; ++side) {
                if (f.attribute_rank[side] == 0) continue;
                const Prediction<T> other(part.load(predictions.photo_logits + chosen[side] * k));
                total +=
                    distance_gradient(own, other, attribute_metric, false, f.attribute_rank[side]);
            }
            total += loss_gradient(own, part.load_annotation(attributes), of_loss);
            part.store(grad_sketch_logits + i * k, total);
        });
    });

    parallel_rows(m, grain_of(4 * d + 64 * k), threads, [&](int64_t j) FGSBIR_INLINE {
        T* grad = grad_photo + j * d;
        std::fill_n(grad, d, T(0));
        const int64_t* begin = references.triplets.data() + references.begin[j];
        const int64_t* end = references.triplets.data() + references.begin[j + 1];
        for (const int64_t* r = begin; r != end; ++r) {
            const int64_t i = *r / 2, side = *r % 2;
            const T factor = factors[i].triplet[side];
            if (factor == 0) continue;
            add_embedding_gradient(triplets.photo + j * d, triplets.sketch + i * d, d, metric,
                                   distances[(kPositive + side) * n + i], factor, grad);
        }
        if (!predictions.given) return;
        const int8_t* attributes = predictions.photo_attributes + j * k;
        const T known = known_attributes<T>(attributes, k);
        by_parts<T>(k, [&](const Part<T>& part) FGSBIR_INLINE {
            const Prediction<T> own(part.load(predictions.photo_logits + j * k));
            const Vec<T> annotation = part.load_annotation(attributes);
            Vec<T> total = {};
            for (const int64_t* r = begin; r != end; ++r) {
                const int64_t i = *r / 2, side = *r % 2;
                const GradientFactors<T>& f = factors[i];
                if (f.attribute_rank[side] != 0) {
                    const Prediction<T> other(part.load(predictions.sketch_logits + i * k));
                    total += distance_gradient(own, other, attribute_metric, true,
                                               f.attribute_rank[side]);
                }
                total += loss_gradient(own, annotation, f.prediction[1 + side] / known);
            }
            part.store(grad_photo_logits + j * k, total);
        });
    });
}

#define FGSBIR_INSTANTIATE(T)                                                                      \
    template void attribute_triplet_loss(const Mining<T>&, const Predictions<T>&,                  \
                                         const LossOptions&, T*, T*, int64_t*, int64_t*, T*, T*,   \
                                         int);                                                     \
    template void attribute_triplet_loss_backward(const ChosenTriplets<T>&, const Predictions<T>&, \
                                                  const LossOptions&, const T*, const T*, T*, T*,  \
                                                  T*, T*, int);
FGSBIR_INSTANTIATE(float)
FGSBIR_INSTANTIATE(double)
#undef FGSBIR_INSTANTIATE

}  // namespace fgsbir::cpu
