// The attribute distance: annotations packed into bits once, then a few operations on words a pair.

#include <cmath>

#include "../ops.h"
#include "attributes.h"
#include "parallel.h"

namespace fgsbir::cpu {

template <typename A>
int64_t pack_attributes(const A* attributes, uint32_t* codes, int64_t n, int64_t k) {
    const int64_t words = attribute_words(k);
    for (int64_t at = 0; at < 2 * words * n; ++at) codes[at] = 0;
    for (int64_t i = 0; i < n; ++i) {
        for (int64_t j = 0; j < k; ++j) {
            const A value = attributes[i * k + j];
            const bool yes = value == A(1), no = value == A(0);
            if (!yes && !no && !(value == A(-1))) return i * k + j;
            const uint32_t bit = 1u << (j % 32);
            if (yes) codes[j / 32 * n + i] |= bit;
            if (yes || no) codes[(words + j / 32) * n + i] |= bit;
        }
    }
    return -1;
}

void attribute_distance(const Attributes& attributes, float* out, int threads) {
    const AttributeRows<float> rows(attributes);
    const int64_t m = attributes.m;
    parallel_rows(attributes.n, grain_of(m), threads,
                  [&](int64_t i) FGSBIR_INLINE { rows.distances(i, 0, m, out + i * m); });
}

template int64_t pack_attributes(const int8_t*, uint32_t*, int64_t, int64_t);
template int64_t pack_attributes(const float*, uint32_t*, int64_t, int64_t);
template int64_t pack_attributes(const double*, uint32_t*, int64_t, int64_t);

}  // namespace fgsbir::cpu
