// Pairwise distances from inner products, and their gradients.
//
// Forward: |x|^2 + |y|^2 - 2 x.y loses the digits that the two sides share, so an element is
// computed anew from its rows where the distance is small beside the norms (or where they
// overflow). Such pairs are rare: the cost is one sweep over the (n, m) matrix. Backward: sums of
// weighted differences, (n m d) operations and no temporary; the product form would cancel in the
// same way.

#include "../ops.h"
#include "parallel.h"
#include "rows.h"

namespace fgsbir::cpu {
namespace {

// A distance below this share of the norms is computed anew, so the relative error of every squared
// distance stays within about 1 / kCancelling roundings.
constexpr double kCancelling = 1.0 / 16;

}  // namespace

template <typename T>
void squared_norms(const T* x, T* out, int64_t n, int64_t d, int threads) {
    parallel_rows(n, grain_of(d), threads,
                  [=](int64_t i) FGSBIR_INLINE { out[i] = squared_norm(x + i * d, d); });
}

template <typename T>
void inverse_norms(const T* x, T* out, int64_t n, int64_t d, int threads) {
    parallel_rows(n, grain_of(d), threads,
                  [=](int64_t i) FGSBIR_INLINE { out[i] = inverse_norm(x + i * d, d); });
}

template <typename T>
void pairwise_distance(T* products, const T* x, const T* y, const T* x_norms, const T* y_norms,
                       int64_t n, int64_t m, int64_t d, Metric metric, int threads) {
    const bool cosine = metric == Metric::cosine;
    parallel_rows(n, grain_of(m), threads, [=](int64_t i) FGSBIR_INLINE {
        T* row = products + i * m;
        const T own = x_norms[i];
        for (int64_t j = 0; j < m; ++j) {
            const T scale = cosine ? T(1) : own + y_norms[j];
            const T value = cosine ? 1 - row[j] * own * y_norms[j] : scale - 2 * row[j];
            if (value >= static_cast<T>(kCancelling) * scale) {
                row[j] = metric == Metric::euclidean ? std::sqrt(value) : value;
            } else {
                row[j] = embedding_distance(x + i * d, y + j * d, d, metric);
            }
        }
    });
}

template <typename T>
void pairwise_distance_backward(const T* grad, const T* distance, const T* x, const T* y, T* grad_x,
                                int64_t n, int64_t m, int64_t d, Metric metric, bool transposed,
                                int threads) {
    const int64_t row_stride = transposed ? 1 : m, column_stride = transposed ? n : 1;
    parallel_rows(n, grain_of(m * d), threads, [=](int64_t i) FGSBIR_INLINE {
        T* out = grad_x + i * d;
        for (int64_t k = 0; k < d; ++k) out[k] = 0;
        for (int64_t j = 0; j < m; ++j) {
            const int64_t at = i * row_stride + j * column_stride;
            add_embedding_gradient(x + i * d, y + j * d, d, metric, distance[at], grad[at], out);
        }
    });
}

#define FGSBIR_INSTANTIATE(T)                                                                     \
    template void squared_norms(const T*, T*, int64_t, int64_t, int);                             \
    template void inverse_norms(const T*, T*, int64_t, int64_t, int);                             \
    template void pairwise_distance(T*, const T*, const T*, const T*, const T*, int64_t, int64_t, \
                                    int64_t, Metric, int);                                        \
    template void pairwise_distance_backward(const T*, const T*, const T*, const T*, T*, int64_t, \
                                             int64_t, int64_t, Metric, bool, int);
FGSBIR_INSTANTIATE(float)
FGSBIR_INSTANTIATE(double)
#undef FGSBIR_INSTANTIATE

}  // namespace fgsbir::cpu
