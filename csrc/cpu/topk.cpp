// The k nearest by d + mu D over inner products as they are made.
//
// Each query keeps its k best as a heap whose top is the worst of them; a block is only looked into
// where its smallest distance beats that. At the end the distances of what was found are computed
// anew from the rows, free of the cancellation in the products, and sorted.

#include <algorithm>
#include <cmath>
#include <vector>

#include "../ops.h"
#include "parallel.h"
#include "product.h"
#include "search.h"
#include "stored.h"
#include "stream.h"
#include "sweep.h"

namespace fgsbir::cpu {
namespace {

// Where both distances are squared Euclidean, one product compares embeddings and attributes:
//     r = |q|^2 + mu |a|^2 + |g|^2 + mu |b|^2 - 2 ([q, mu a], [g, b])
// It is rounded as its largest term is, so mu K may be this many times |q|^2.
constexpr double kMostSummed = 32;

template <typename T>
bool can_be_summed(const State<T>& search) {
    const T smallest = *std::min_element(search.query_norms.begin(), search.query_norms.end());
    return search.metric == Metric::sqeuclidean &&
           search.attribute_metric == AttributeMetric::sqeuclidean &&
           search.attribute_weight * search.attributes <= kMostSummed * smallest;
}

// The search to which attributes are more dimensions of the embeddings.
template <typename T>
State<T> summed(const State<T>& search) {
    State<T> sum = search;
    const T mu = static_cast<T>(search.attribute_weight);
    for (T& a : sum.predictions) a *= mu;
    for (int64_t i = 0; i < search.n; ++i) sum.query_norms[i] += mu * search.biases[i];
    return sum;
}

// What distances need of photos beside products.
template <typename T, bool kSum>
class PhotoTerms {
  public:
    ColumnNorms<T> norms;   // with mu |b|^2 where products are summed
    ColumnNorms<T> biases;  // of photos where they are not, see write_photo_biases()

    explicit PhotoTerms(const State<T>& search)
        : norms(search.m, search.d, search.metric),
          biases(search.attributes == 0 || kSum ? 0 : search.m, search.attributes,
                 Metric::sqeuclidean),
          search_(search) {}

    template <size_t kCount>
    void write(int64_t first, int64_t size, const Panels<T, kCount>& panel) {
        norms.write(first, size, panel);
        if constexpr (kCount > 1) {
            alignas(64) T of_panel[kPanel<T>];
            run([&]() FGSBIR_INLINE { write_photo_biases(search_, panel[1], of_panel); });
            if (kSum) {
                norms.add(first, size, static_cast<T>(search_.attribute_weight), of_panel);
            } else {
                biases.set(first, size, of_panel);
            }
        }
    }

  private:
    const State<T>& search_;
};

// `kCount` pairs of factors: of embeddings, and of predictions if they count.
template <bool kSum, size_t kCount, typename T>
void search_products(const State<T>& search, const std::array<Factors<T>, kCount>& factors,
                     const Nearest<T>& nearest, int threads) {
    PhotoTerms<T, kSum> photos(search);
    const auto use = [&](int64_t i, int64_t column, int64_t columns,
                         const auto& products) FGSBIR_INLINE {
        constexpr bool kPredicted = kCount > 1 && !kSum;
        const bool finite =
            photos.norms.finite(column, columns) && all_finite(&search.query_norms[i], 1);
        const bool finite_biases = kPredicted && photos.biases.finite(column, columns);
        if (column == 0) nearest.of(i).clear(1);
        for (int64_t at = 0; at < columns; at += kBlock) {
            const int64_t first = column + at;
            offer_block(search, i,
                        Block<T>{first, std::min(kBlock, columns - at), products[0] + at,
                                 photos.norms.from(first), finite,
                                 kPredicted ? products.back() + at : nullptr,
                                 kPredicted ? photos.biases.from(first) : nullptr, finite_biases},
                        nearest.of(i));
        }
    };
    Product<T, kCount, kSum>(factors, search.n, search.m, threads).sweep(photos, use);
}

template <typename T>
void search_by_products(const State<T>& search, const Nearest<T>& nearest, int threads) {
    const Factors<T> embeddings{search.query, search.photos};
    if (search.attributes == 0) {
        return search_products<false, 1>(search, {{embeddings}}, nearest, threads);
    }
    if (can_be_summed(search)) {
        const State<T> sum = summed(search);
        const Factors<T> predictions{sum.predictions.data(), search.photo_operand()};
        return search_products<true, 2>(sum, {{embeddings, predictions}}, nearest, threads);
    }
    const Factors<T> predictions{search.predictions.data(), search.photo_operand()};
    search_products<false, 2>(search, {{embeddings, predictions}}, nearest, threads);
}

// By distance and then index, NaN first.
template <typename T>
void sort_found(const Nearest<T>& nearest) {
    std::vector<std::pair<T, int64_t>> found(nearest.size);
    for (int64_t r = 0; r < nearest.size; ++r) found[r] = {nearest.values[r], nearest.indices[r]};
    std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) {
        const bool a_nan = std::isnan(a.first), b_nan = std::isnan(b.first);
        if (a_nan || b_nan) return a_nan && b_nan ? a.second < b.second : a_nan;
        return before(a.first, a.second, b.first, b.second);
    });
    for (int64_t r = 0; r < nearest.size; ++r) {
        nearest.values[r] = found[r].first;
        nearest.indices[r] = found[r].second;
    }
}

// Computes the distances of what was found anew, and sorts by them.
template <typename T>
void finish(const State<T>& search, const Nearest<T>& nearest, int threads) {
    parallel_rows(search.n, grain_of(search.k * search.d), threads, [&](int64_t i) FGSBIR_INLINE {
        const Nearest<T> own = nearest.of(i);
        distances_of_pairs(search, i, own.indices, own.size, own.values);
        sort_found(own);
    });
}

}  // namespace

template <typename T>
void topk(const Search<T>& search, T* values, int64_t* indices, int threads) {
    const State<T> state(search, threads);
    const Nearest<T> nearest{values, indices, search.k};
    if (search.n <= kFewQueries && search.k <= kMostStreamed) {
        search_stream(state, nearest, threads);
    } else {
        search_by_products(state, nearest, threads);
    }
    finish(state, nearest, threads);
}

#define FGSBIR_INSTANTIATE(T) template void topk(const Search<T>&, T*, int64_t*, int);
FGSBIR_INSTANTIATE(float)
FGSBIR_INSTANTIATE(double)
#undef FGSBIR_INSTANTIATE

}  // namespace fgsbir::cpu
