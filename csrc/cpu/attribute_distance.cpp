// The attribute distance: annotations packed into bits once, then a few operations on words a pair.

#include <algorithm>
#include <utility>
#include <vector>

#include "../ops.h"
#include "annotations.h"
#include "attributes.h"
#include "parallel.h"

namespace fgsbir::cpu {

template <typename A>
Codes pack_attributes(const A* attributes, int64_t n, int64_t k) {
    const int64_t words = attribute_words(k);
    std::vector<uint32_t> codes(2 * words * n);
    const auto is = [=](int64_t at, int value) { return attributes[at] == static_cast<A>(value); };
    bool valid = true;
    for (int64_t i = 0; i < n; ++i) {
        for (int64_t w = 0; w < words; ++w) {
            uint32_t yes = 0, known = 0;
            for (int64_t j = w * 32; j < std::min(k, w * 32 + 32); j += 8) {
                const EightAnnotations eight(attributes + i * k + j, k - j);
                const uint32_t in_row = k - j < 8 ? (1u << (k - j)) - 1 : 255u;
                yes |= eight.yes() << (j % 32);
                known |= (~eight.unknown() & in_row) << (j % 32);
                valid &= eight.valid();
            }
            codes[w * n + i] = yes;
            codes[(words + w) * n + i] = known;
        }
    }
    int64_t at = 0;
    while (!valid && (is(at, 1) || is(at, 0) || is(at, -1))) ++at;
    return {std::move(codes), n, k, valid ? -1 : at};
}

void attribute_distance(const PackedAttributes& attributes, float* out, int threads) {
    const AttributeRows<float> rows(attributes);
    const int64_t m = attributes.m;
    parallel_rows(attributes.n, grain_of(m), threads,
                  [&](int64_t i) FGSBIR_INLINE { rows.distances(i, 0, m, out + i * m); });
}

template Codes pack_attributes(const int8_t*, int64_t, int64_t);
template Codes pack_attributes(const float*, int64_t, int64_t);
template Codes pack_attributes(const double*, int64_t, int64_t);

}  // namespace fgsbir::cpu
