// Distances of a search from the rows themselves, free of the cancellation in products.

#include "search.h"

#include "../ops.h"
#include "predictions.h"
#include "product.h"
#include "rows.h"

namespace fgsbir::cpu {

template <typename T>
void distances_of_pairs(const State<T>& search, int64_t i, const int64_t* indices, int64_t count,
                        T* out) {
    const int64_t d = search.d, k = search.attributes;
    const Scratch<T> photo(search.photos.computed() ? d : 0);
    const Scratch<T> photo_logits(search.photo_logits.computed() ? k : 0);
    run([&]() FGSBIR_INLINE {
        for (int64_t r = 0; r < count; ++r) {
            const T* row = search.photos.rows(indices[r], 1, photo.data());
            out[r] = embedding_distance(search.query + i * d, row, d, search.metric);
            if (k == 0) continue;
            const T* logits = search.photo_logits.rows(indices[r], 1, photo_logits.data());
            out[r] +=
                static_cast<T>(search.attribute_weight) *
                predicted_distance(search.query_logits + i * k, logits, k, search.attribute_metric);
        }
    });
}

template <typename T>
T distance_of_embeddings(const State<T>& search, int64_t i, int64_t j) {
    const Scratch<T> photo(search.photos.computed() ? search.d : 0);
    const T* row = search.photos.rows(j, 1, photo.data());
    return rare_embedding_distance(search.query + i * search.d, row, search.d, search.metric);
}

#define FGSBIR_INSTANTIATE(T)                                                                \
    template void distances_of_pairs(const State<T>&, int64_t, const int64_t*, int64_t, T*); \
    template T distance_of_embeddings(const State<T>&, int64_t, int64_t);
FGSBIR_INSTANTIATE(float)
FGSBIR_INSTANTIATE(double)
#undef FGSBIR_INSTANTIATE

}  // namespace fgsbir::cpu
