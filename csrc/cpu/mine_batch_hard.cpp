// Batch-hard mining over inner products as they are made.
//
// Each row's products are scanned in blocks of 64. A block whose smallest distance is not below the
// best score so far is skipped: beta h only adds to it. In other blocks products become distances,
// the anchor's positives (a short sorted list) are compared and struck out, beta h is added to the
// rest, and the smallest score is compared with the best. No (N, M) matrix exists.

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "../ops.h"
#include "attributes.h"
#include "parallel.h"
#include "product.h"
#include "rows.h"
#include "sweep.h"

namespace fgsbir::cpu {
namespace {

template <typename T>
constexpr T kInfinity = std::numeric_limits<T>::infinity();

// A search through a batch, and the best so far.
template <typename T>
struct State : Mining<T> {
    std::vector<T> sketch_norms;  // as norms() computes them
    ColumnNorms<T> photo_norms;
    std::vector<int64_t> order, begin, end;  // positives of sketch i: order[begin[i]:end[i]]
    std::vector<T> positive_distance, negative_score, negative_attribute_distance;  // [N]
    int64_t* positive;  // [N] result, -1 where not valid
    int64_t* negative;  // [N] result, -1 where not valid

    State(const Mining<T>& mining, int64_t* positive, int64_t* negative, int threads);
};

// The positives of anchor i among photos in [from, m), ascending.
template <typename T>
struct Positives {
    const int64_t* next;
    const int64_t* end;

    Positives(const State<T>& mining, const int64_t& i, int64_t from) {
        next = mining.sketch_labels == nullptr ? &i : mining.order.data() + mining.begin[i];
        end = mining.sketch_labels == nullptr ? next + 1 : mining.order.data() + mining.end[i];
        next = std::lower_bound(next, end, from);
    }
};

template <typename T>
FGSBIR_INLINE inline void offer_positive(State<T>& mining, int64_t i, int64_t j, T distance) {
    T& best = mining.positive_distance[i];
    if (std::isnan(best) ||
        (mining.positive[i] >= 0 && !(distance > best) && !std::isnan(distance)))
        return;
    best = distance;
    mining.positive[i] = j;
}

// The smallest of the scores meets the best so far; among equals the lowest index wins, in whatever
// order blocks come. Struck-out scores are infinite.
template <typename T>
FGSBIR_INLINE inline void offer_negatives(State<T>& mining, int64_t i, int64_t first,
                                          const T* scores) {
    T& best = mining.negative_score[i];
    int64_t& negative = mining.negative[i];
    const Smallest<T> smallest = smallest_of(scores);
    if (std::isnan(best)) return;
    if (smallest.has_nan) {
        best = std::numeric_limits<T>::quiet_NaN();
        negative = first + first_nan(scores);
    } else if (smallest.value < best ||
               (smallest.value == best && best < kInfinity<T> && first < negative)) {
        best = smallest.value;
        negative = first + first_equal(scores, best);
    }
}

// The same where attributes come first: `scores` are distances, `h` attribute distances, infinite
// where struck out. A NaN distance still comes before everything.
template <typename T>
FGSBIR_INLINE inline void offer_negatives_by_attributes(State<T>& mining, int64_t i, int64_t first,
                                                        T* scores, const T* h) {
    T& best_h = mining.negative_attribute_distance[i];
    const T closest = smallest_of(h).value;
    if (closest < best_h && !std::isnan(mining.negative_score[i])) {
        best_h = closest;
        mining.negative_score[i] = kInfinity<T>;
        mining.negative[i] = first + first_equal(h, closest);
    }
    for (int64_t j = 0; j < kBlock; ++j) {
        if (h[j] != best_h && !(std::isnan(scores[j]) && h[j] < kInfinity<T>)) {
            scores[j] = kInfinity<T>;
        }
    }
    offer_negatives(mining, i, first, scores);
}

// One anchor against some columns.
template <typename T>
struct Sweep {
    State<T>& mining;
    const AttributeRows<T>* attributes;  // null without guidance
    const T* products;                   // [columns]
    int64_t i, column, columns;
    bool finite;  // neither a norm nor a distance overflows
    Positives<T> positives;

    // Writes d(i, j) for j in [first, first + size).
    FGSBIR_INLINE void distances(int64_t first, int64_t size, T* out) const {
        distances_of_block(products + (first - column), size, mining.metric, mining.sketch_norms[i],
                           mining.photo_norms.from(first), out);
        if (finite) return;
        for (int64_t j = 0; j < size; ++j) {
            if (std::isfinite(out[j])) continue;
            out[j] = rare_embedding_distance(mining.sketch + i * mining.d,
                                             mining.photo + (first + j) * mining.d, mining.d,
                                             mining.metric);
        }
    }

    FGSBIR_INLINE void offer_positives() const {
        for (const int64_t* p = positives.next; p != positives.end && *p < column + columns; ++p) {
            if (mining.exclude_self && i == *p) continue;
            T distance;
            distances(*p, 1, &distance);
            offer_positive(mining, i, *p, distance);
        }
    }

    // Of at most kBlock columns; loops over a constant size are the faster ones.
    FGSBIR_INLINE void offer_block(int64_t first, int64_t size) const {
        alignas(64) T scores[kBlock], h[kBlock];
        distances(first, size, scores);
        for (int64_t j = size; j < kBlock; ++j) scores[j] = kInfinity<T>;
        const bool attributes_first = std::isinf(mining.guidance);
        if (attributes != nullptr) {
            attributes->distances(i, first, first + size, h);
            const T guidance = static_cast<T>(mining.guidance);
            for (int64_t j = 0; !attributes_first && j < size; ++j) scores[j] += guidance * h[j];
            for (int64_t j = size; j < kBlock; ++j) h[j] = kInfinity<T>;
        }
        for (const int64_t* p = std::lower_bound(positives.next, positives.end, first);
             p != positives.end && *p < first + size; ++p) {
            scores[*p - first] = h[*p - first] = kInfinity<T>;
        }
        if (attributes != nullptr && attributes_first) {
            offer_negatives_by_attributes(mining, i, first, scores, h);
        } else {
            offer_negatives(mining, i, first, scores);
        }
    }

    // With `only_near`, skips the full blocks that hold nothing as near as the best score: what
    // guidance adds to a distance is not negative. The block with the nearest photo of all comes
    // first (turn -1), since it decides how many others are looked into.
    FGSBIR_INLINE void offer_blocks(bool only_near) const {
        constexpr int64_t kBlocks = 64;
        T nearest[kBlocks];
        int64_t at = 0;
        while (only_near && columns - at >= kBlock) {
            const int64_t blocks = std::min(kBlocks, (columns - at) / kBlock);
            int64_t first = 0;
            for (int64_t b = 0; b < blocks; ++b) {
                nearest[b] = nearest_in_block(products + at + b * kBlock, mining.metric,
                                              mining.sketch_norms[i],
                                              mining.photo_norms.from(column + at + b * kBlock));
                if (nearest[b] < nearest[first]) first = b;
            }
            if (nearest[first] <= mining.negative_score[i]) {
                for (int64_t turn = -1; turn < blocks; ++turn) {
                    const int64_t b = turn < 0 ? first : turn;
                    if (nearest[b] > mining.negative_score[i] || turn == first) continue;
                    offer_block(column + at + b * kBlock, kBlock);
                }
            }
            at += blocks * kBlock;
        }
        for (; at < columns; at += kBlock) {
            offer_block(column + at, std::min(kBlock, columns - at));
        }
    }
};

template <typename T>
FGSBIR_INLINE inline void mine_row(State<T>& mining, const AttributeRows<T>* attributes,
                                   const T* products, int64_t i, int64_t column, int64_t columns) {
    const bool finite =
        mining.photo_norms.finite(column, columns) && all_finite(&mining.sketch_norms[i], 1);
    const Sweep<T> sweep{mining, attributes, products, i,
                         column, columns,    finite,   Positives<T>(mining, i, column)};
    sweep.offer_positives();
    sweep.offer_blocks(finite && !std::isinf(mining.guidance));
}

// Where every score was infinite none improved on the start: then the lowest negative is due.
template <typename T>
int64_t lowest_negative(const State<T>& mining, int64_t i) {
    int64_t lowest = 0;
    for (Positives<T> p(mining, i, 0); p.next != p.end && *p.next == lowest; ++p.next) ++lowest;
    return lowest < mining.m ? lowest : -1;
}

// Sorts photos by label, and finds those of each sketch's.
template <typename T>
void group_by_label(State<T>& mining) {
    const int64_t* labels = mining.photo_labels;
    std::vector<int64_t>& order = mining.order;
    order.resize(mining.m);
    std::iota(order.begin(), order.end(), int64_t{0});
    std::sort(order.begin(), order.end(), [=](int64_t a, int64_t b) {
        return labels[a] != labels[b] ? labels[a] < labels[b] : a < b;
    });
    mining.begin.resize(mining.n);
    mining.end.resize(mining.n);
    for (int64_t i = 0; i < mining.n; ++i) {
        const int64_t label = mining.sketch_labels[i];
        const auto first = std::lower_bound(order.begin(), order.end(), label,
                                            [=](int64_t j, int64_t l) { return labels[j] < l; });
        const auto last = std::upper_bound(first, order.end(), label,
                                           [=](int64_t l, int64_t j) { return l < labels[j]; });
        mining.begin[i] = first - order.begin();
        mining.end[i] = last - order.begin();
    }
}

template <typename T>
State<T>::State(const Mining<T>& mining, int64_t* positive, int64_t* negative, int threads)
    : Mining<T>(mining),
      sketch_norms(mining.n),
      photo_norms(mining.m, mining.d, mining.metric),
      positive_distance(mining.n, -kInfinity<T>),
      negative_score(mining.n, kInfinity<T>),
      negative_attribute_distance(mining.n, kInfinity<T>),
      positive(positive),
      negative(negative) {
    std::fill_n(positive, mining.n, int64_t{-1});
    std::fill_n(negative, mining.n, int64_t{-1});
    norms(mining.sketch, sketch_norms.data(), mining.n, mining.d, mining.metric, threads);
    if (mining.sketch_labels != nullptr) group_by_label(*this);
}

// Completes the results once all columns were met.
template <typename T>
void finish(State<T>& mining) {
    for (int64_t i = 0; i < mining.n; ++i) {
        if (mining.negative[i] < 0) mining.negative[i] = lowest_negative(mining, i);
        if (mining.positive[i] < 0 || mining.negative[i] < 0) {
            mining.positive[i] = mining.negative[i] = -1;
        }
    }
}

}  // namespace

template <typename T>
void mine_batch_hard(const Mining<T>& mining, int64_t* positive, int64_t* negative, int threads) {
    State<T> state(mining, positive, negative, threads);
    const bool guided = mining.guidance > 0;
    const AttributeRows<T> attributes(guided ? mining.attributes : PackedAttributes{});
    const auto use = [&](int64_t i, int64_t column, int64_t columns,
                         Products<T, 1> products) FGSBIR_INLINE {
        mine_row(state, guided ? &attributes : nullptr, products[0], i, column, columns);
    };
    Product<T, 1>({{{mining.sketch, {mining.photo, mining.d}}}}, mining.n, mining.m, threads)
        .sweep(state.photo_norms, use);
    finish(state);
}

#define FGSBIR_INSTANTIATE(T) \
    template void mine_batch_hard(const Mining<T>&, int64_t*, int64_t*, int);
FGSBIR_INSTANTIATE(float)
FGSBIR_INSTANTIATE(double)
#undef FGSBIR_INSTANTIATE

}  // namespace fgsbir::cpu
