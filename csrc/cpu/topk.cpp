// The k nearest by d + mu D over inner products as they are made.
//
// Each query keeps its k best as a heap whose top is the worst of them; a block is only looked into
// where its smallest distance beats that. At the end the distances of what was found are computed
// anew from the rows, free of the cancellation in the products, and sorted.

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "../ops.h"
#include "parallel.h"
#include "predictions.h"
#include "product.h"
#include "rows.h"
#include "sweep.h"

namespace fgsbir::cpu {
namespace {

// A search, and what distances need beside products.
template <typename T>
struct State : Search<T> {
    T* values;                   // [N, k] result
    int64_t* indices;            // [N, k] result
    std::vector<T> query_norms;  // as norms() computes them
    ColumnNorms<T> gallery_norms;
    bool ordered;  // what attributes add is a number and not negative. (A cross-entropy that is
                   // nearly 0 may be, by rounding.)

    State(const Search<T>& search, T* values, int64_t* indices, int threads)
        : Search<T>(search),
          values(values),
          indices(indices),
          query_norms(search.n),
          gallery_norms(search.gallery, search.m, search.d, search.metric) {
        norms(search.query, query_norms.data(), search.n, search.d, search.metric, threads);
        ordered = search.query_logits == nullptr ||
                  (search.attribute_metric != AttributeMetric::cross_entropy &&
                   all_finite(search.gallery_bias, search.m));
    }
};

// While the search goes on a NaN, which is nearer than anything, is kept as minus infinity.
template <typename T>
constexpr T kNearest = -std::numeric_limits<T>::infinity();

// Whether (value, index) a comes before b.
template <typename T>
bool before(T a_value, int64_t a_index, T b_value, int64_t b_index) {
    return a_value != b_value ? a_value < b_value : a_index < b_index;
}

// Puts (value, index) in the place of the top and lets it sink.
template <typename T>
void replace_top(T* values, int64_t* indices, int64_t size, T value, int64_t index) {
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

// r(i, j) from the rows themselves, for every j of `indices`.
template <typename T>
FGSBIR_NOINLINE void distances_of_pairs(const Search<T>& search, int64_t i, const int64_t* indices,
                                        int64_t count, T* out) {
    const int64_t d = search.d, k = search.attributes;
    run([&]() FGSBIR_INLINE {
        for (int64_t r = 0; r < count; ++r) {
            out[r] = embedding_distance(search.query + i * d, search.gallery + indices[r] * d, d,
                                        search.metric);
            if (search.query_logits == nullptr) continue;
            out[r] += static_cast<T>(search.attribute_weight) *
                      predicted_distance(search.query_logits + i * k,
                                         search.gallery_logits + indices[r] * k, k,
                                         search.attribute_metric);
        }
    });
}

template <typename T>
FGSBIR_INLINE inline void add_predicted(const Search<T>& search, const T* products, int64_t size,
                                        int64_t i, int64_t first, T* scores) {
    const T weight = static_cast<T>(search.attribute_weight);
    const T* bias = search.gallery_bias + first;
    if (search.attribute_metric == AttributeMetric::cross_entropy) {
        const T share = 1 / static_cast<T>(std::max<int64_t>(search.attributes, 1));
        for (int64_t j = 0; j < size; ++j) scores[j] += weight * (bias[j] - share * products[j]);
        return;
    }
    alignas(64) T predicted[kBlock];
    const Metric metric = search.attribute_metric == AttributeMetric::euclidean
                              ? Metric::euclidean
                              : Metric::sqeuclidean;
    distances_of_block(products, size, metric, search.query_bias[i], bias, predicted);
    for (int64_t j = 0; j < size; ++j) scores[j] += weight * predicted[j];
}

template <typename T>
FGSBIR_INLINE inline void search_row(const State<T>& search, const T* products,
                                     const T* logit_products, int64_t i, int64_t column,
                                     int64_t columns) {
    const T* query_norm = &search.query_norms[i];
    const T* gallery_norms = search.gallery_norms.from(column);
    // Whether no distance overflows on its way, and whether no score is below its distance.
    const bool finite = search.gallery_norms.finite(column, columns) && all_finite(query_norm, 1);
    const bool ordered = search.ordered && finite &&
                         (logit_products == nullptr || all_finite(search.query_bias + i, 1));
    T* values = search.values + i * search.k;
    int64_t* indices = search.indices + i * search.k;
    alignas(64) T scores[kBlock];
    if (column == 0) {
        std::fill_n(values, search.k, std::numeric_limits<T>::infinity());
        std::fill_n(indices, search.k, std::numeric_limits<int64_t>::max());
    }
    for (int64_t at = 0; at < columns; at += kBlock) {
        const int64_t size = std::min(kBlock, columns - at), first = column + at;
        if (ordered && size == kBlock) {
            const T nearest =
                nearest_in_block(products + at, search.metric, *query_norm, gallery_norms + at);
            if (!(nearest < values[0])) continue;
        }
        distances_of_block(products + at, size, search.metric, *query_norm, gallery_norms + at,
                           scores);
        for (int64_t j = 0; !finite && j < size; ++j) {
            if (std::isfinite(scores[j])) continue;
            scores[j] = rare_embedding_distance(search.query + i * search.d,
                                                search.gallery + (first + j) * search.d, search.d,
                                                search.metric);
        }
        if (logit_products != nullptr) {
            add_predicted(search, logit_products + at, size, i, first, scores);
        }
        for (int64_t j = size; j < kBlock; ++j) scores[j] = std::numeric_limits<T>::infinity();

        const Smallest<T> smallest = smallest_of(scores);
        if (!smallest.has_nan && smallest.value > values[0]) continue;
        for (int64_t j = 0; smallest.has_nan && j < size; ++j) {
            // inf - inf of products is no NaN of the distance.
            if (!std::isnan(scores[j])) continue;
            const int64_t index = first + j;
            distances_of_pairs(search, i, &index, 1, &scores[j]);
        }
        for (int64_t j = 0; j < size; ++j) {
            const T score = std::isnan(scores[j]) ? kNearest<T> : scores[j];
            if (before(score, first + j, values[0], indices[0])) {
                replace_top(values, indices, search.k, score, first + j);
            }
        }
    }
}

// Factors: of the embeddings, and of the predictions if they count.
template <typename T, size_t kCount>
void search_rows(State<T>& search, const std::array<Factors<T>, kCount>& factors, int threads) {
    const auto use = [&](int64_t i, int64_t column, int64_t columns,
                         Products<T, kCount> products) FGSBIR_INLINE {
        search_row(search, products[0], kCount > 1 ? products.back() : nullptr, i, column, columns);
    };
    Product<T, kCount>(factors, search.n, search.m, threads).sweep(search.gallery_norms, use);
}

// By distance and then index, NaN first.
template <typename T>
void sort_found(T* values, int64_t* indices, int64_t size) {
    std::vector<std::pair<T, int64_t>> found(size);
    for (int64_t r = 0; r < size; ++r) found[r] = {values[r], indices[r]};
    std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) {
        const bool a_nan = std::isnan(a.first), b_nan = std::isnan(b.first);
        if (a_nan || b_nan) return a_nan && b_nan ? a.second < b.second : a_nan;
        return before(a.first, a.second, b.first, b.second);
    });
    for (int64_t r = 0; r < size; ++r) {
        values[r] = found[r].first;
        indices[r] = found[r].second;
    }
}

// Computes the distances of what was found anew, and sorts by them.
template <typename T>
void finish(const State<T>& search, int threads) {
    const int64_t k = search.k;
    parallel_rows(search.n, grain_of(k * search.d), threads, [&](int64_t i) FGSBIR_INLINE {
        T* values = search.values + i * k;
        int64_t* indices = search.indices + i * k;
        distances_of_pairs(search, i, indices, k, values);
        sort_found(values, indices, k);
    });
}

}  // namespace

template <typename T>
void topk(const Search<T>& search, T* values, int64_t* indices, int threads) {
    State<T> state(search, values, indices, threads);
    const Factors<T> embeddings{search.query, search.gallery, search.d};
    if (search.query_logits == nullptr) {
        search_rows<T, 1>(state, {{embeddings}}, threads);
    } else {
        search_rows<T, 2>(
            state,
            {{embeddings, {search.query_operand, search.gallery_operand, search.attributes}}},
            threads);
    }
    finish(state, threads);
}

#define FGSBIR_INSTANTIATE(T) template void topk(const Search<T>&, T*, int64_t*, int);
FGSBIR_INSTANTIATE(float)
FGSBIR_INSTANTIATE(double)
#undef FGSBIR_INSTANTIATE

}  // namespace fgsbir::cpu
