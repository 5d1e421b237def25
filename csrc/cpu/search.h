// A search for the k nearest by d + mu D: what it keeps, and how scores of a block are offered to
// it. Both ways to meet photos, product by product (topk.cpp) and in a stream (stream.h), end here.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "../ops.h"
#include "predictions.h"
#include "product.h"
#include "rows.h"
#include "stored.h"
#include "sweep.h"
#include "vec_math.h"

namespace fgsbir::cpu {

// A search, and what distances need of queries beside products.
template <typename T>
struct State : Search<T> {
    Stored<T> photos;            // [M, D]
    Stored<T> photo_logits;      // [M, K]
    std::vector<T> query_norms;  // [N] as norms() computes them
    std::vector<T> predictions;  // [N, K] probabilities a
    std::vector<T> biases;       // [N] |a|^2

    State(const Search<T>& search, int threads)
        : Search<T>(search),
          photos(search.gallery, search.d, search.gallery_type),
          photo_logits(search.gallery_logits, search.attributes, search.gallery_type),
          query_norms(search.n),
          predictions(search.n * search.attributes),
          biases(search.n) {
        const int64_t n = search.n, k = search.attributes;
        norms(search.query, query_norms.data(), n, search.d, search.metric, threads);
        run([&]() FGSBIR_INLINE {
            by_parts<T>(n * k, [&](const Part<T>& part) FGSBIR_INLINE {
                part.store(predictions.data(), Prediction<T>(part.load(search.query_logits)).p);
            });
        });
        norms(predictions.data(), biases.data(), n, k, Metric::sqeuclidean, threads);
    }

    bool by_cross_entropy() const {
        return this->attribute_metric == AttributeMetric::cross_entropy;
    }

    // What predictions of queries are multiplied with: probabilities b, or logits for the
    // cross-entropy.
    Stored<T> photo_operand() const {
        const Meaning meaning = by_cross_entropy() ? Meaning::numbers : Meaning::probabilities;
        return {this->gallery_logits, this->attributes, this->gallery_type, meaning};
    }
};

// What D needs of a panel of photos beside products: |b|^2, or for the cross-entropy the mean of
// softplus(logit).
template <typename T>
FGSBIR_INLINE inline void write_photo_biases(const State<T>& search,
                                             const T* operands /* [K, kPanel] */,
                                             T* out /* [kPanel] */) {
    const int64_t k = search.attributes;
    const auto sum_of = [&](T divisor, const auto& term) FGSBIR_INLINE {
        Vec<T> low = {}, high = {};
        for (int64_t at = 0; at < k; ++at) {
            low += term(load(operands + at * kPanel<T>));
            high += term(load(operands + at * kPanel<T> + kLanes<T>));
        }
        store(out, low / divisor);
        store(out + kLanes<T>, high / divisor);
    };
    if (search.by_cross_entropy()) {
        sum_of(static_cast<T>(k),
               [](Vec<T> logit) FGSBIR_INLINE { return softplus_of<T>(logit, decay_of(logit)); });
    } else {
        sum_of(1, [](Vec<T> b) FGSBIR_INLINE { return b * b; });
    }
}

// r(i, j) from the rows themselves, for every j of `indices`.
template <typename T>
void distances_of_pairs(const State<T>& search, int64_t i, const int64_t* indices, int64_t count,
                        T* out);

// d(i, j) alone.
template <typename T>
T distance_of_embeddings(const State<T>& search, int64_t i, int64_t j);

// --- The nearest so far --------------------------------------------------------------------------

// While the search goes on a NaN, which is nearer than anything, is kept as minus infinity.
template <typename T>
constexpr T kNearest = -std::numeric_limits<T>::infinity();

// Whether (value, index) a comes before b.
template <typename T>
bool before(T a_value, int64_t a_index, T b_value, int64_t b_index) {
    return a_value != b_value ? a_value < b_value : a_index < b_index;
}

// The `size` nearest photos of a query, as a heap whose top is the farthest of them, or such heaps
// one after another.
template <typename T>
struct Nearest {
    T* values;         // [queries, size]
    int64_t* indices;  // [queries, size]
    int64_t size;

    Nearest of(int64_t query) const {
        return {values + query * size, indices + query * size, size};
    }

    void clear(int64_t queries) const {
        std::fill_n(values, queries * size, std::numeric_limits<T>::infinity());
        std::fill_n(indices, queries * size, std::numeric_limits<int64_t>::max());
    }

    // Takes in what comes before the top.
    void offer(T value, int64_t index) const {
        if (!before(value, index, values[0], indices[0])) return;
        int64_t at = 0;
        for (int64_t child = 1; child < size; child = 2 * at + 1) {
            if (child + 1 < size &&
                before(values[child], indices[child], values[child + 1], indices[child + 1])) {
                ++child;
            }
            if (!before(value, index, values[child], indices[child])) break;
            values[at] = values[child];
            indices[at] = indices[child];
            at = child;
        }
        values[at] = value;
        indices[at] = index;
    }
};

// --- Scores --------------------------------------------------------------------------------------

// Photos [first, first + size) as one query meets them, at most kBlock. Where no predictions are
// given, products and norms give all of r.
template <typename T>
struct Block {
    int64_t first, size;
    const T* products;
    const T* norms;      // of photos
    bool finite;         // whether norms, and sums of two, are numbers and do not overflow
    const T* predicted;  // products of predictions, or null
    const T* biases;     // of photos, see write_photo_biases()
    bool finite_biases;
};

// Whether a block may hold a photo that is nearer than `farthest` by what products and norms give,
// and so by d + mu D if D is a number and not negative.
template <typename T>
FGSBIR_INLINE inline bool may_be_nearer(const State<T>& search, int64_t i, const Block<T>& block,
                                        T farthest) {
    if (!block.finite || block.size < kBlock) return true;
    return nearest_in_block(block.products, search.metric, search.query_norms[i], block.norms) <
           farthest;
}

template <typename T>
FGSBIR_INLINE inline void add_predicted(const State<T>& search, int64_t i, const Block<T>& block,
                                        T* scores) {
    const T weight = static_cast<T>(search.attribute_weight);
    if (search.by_cross_entropy()) {
        const T share = 1 / static_cast<T>(search.attributes);
        for (int64_t j = 0; j < block.size; ++j) {
            scores[j] += weight * (block.biases[j] - share * block.predicted[j]);
        }
        return;
    }
    alignas(64) T predicted[kBlock];
    const Metric metric = search.attribute_metric == AttributeMetric::euclidean
                              ? Metric::euclidean
                              : Metric::sqeuclidean;
    distances_of_block(block.predicted, block.size, metric, search.biases[i], block.biases,
                       predicted);
    for (int64_t j = 0; j < block.size; ++j) scores[j] += weight * predicted[j];
}

// Offers the photos of a block to the nearest of query i.
template <typename T>
FGSBIR_INLINE inline void offer_block(const State<T>& search, int64_t i, const Block<T>& block,
                                      const Nearest<T>& nearest) {
    // Whether what predictions add is a number and not negative. (A cross-entropy that is nearly 0
    // may be, by rounding.)
    const bool ordered =
        block.predicted == nullptr ||
        (!search.by_cross_entropy() && block.finite_biases && all_finite(&search.biases[i], 1));
    if (ordered && !may_be_nearer(search, i, block, nearest.values[0])) return;

    alignas(64) T scores[kBlock];
    distances_of_block(block.products, block.size, search.metric, search.query_norms[i],
                       block.norms, scores);
    for (int64_t j = 0; !block.finite && j < block.size; ++j) {
        if (std::isfinite(scores[j])) continue;
        const int64_t index = block.first + j;
        if (block.predicted == nullptr) {
            distances_of_pairs(search, i, &index, 1, &scores[j]);
        } else {
            scores[j] = distance_of_embeddings(search, i, index);
        }
    }
    if (block.predicted != nullptr) add_predicted(search, i, block, scores);
    for (int64_t j = block.size; j < kBlock; ++j) scores[j] = std::numeric_limits<T>::infinity();

    const Smallest<T> smallest = smallest_of(scores);
    if (!smallest.has_nan && smallest.value > nearest.values[0]) return;
    for (int64_t j = 0; smallest.has_nan && j < block.size; ++j) {
        // inf - inf of products is no NaN of the distance.
        if (!std::isnan(scores[j])) continue;
        const int64_t index = block.first + j;
        distances_of_pairs(search, i, &index, 1, &scores[j]);
    }
    for (int64_t j = 0; j < block.size; ++j) {
        nearest.offer(std::isnan(scores[j]) ? kNearest<T> : scores[j], block.first + j);
    }
}

}  // namespace fgsbir::cpu
