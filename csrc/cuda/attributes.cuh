// The attribute distance h of packed attributes: 32 attributes of a pair in a few instructions.
//
// Two rows differ in the attributes that one says yes and the other no to; what either does not
// know drops out by itself. Unweighted, the bits are counted; weighted, a table gives what each
// byte of bits counts, in float64, so that equal sums are equal in whatever order they were added.
#pragma once

#include "numeric.cuh"
#include "prepare.h"

namespace fgsbir::cuda {

struct AttributeCodes {
    const uint2* a;        // [words, n] yes, no
    const uint2* b;        // [words, m]
    const double* shares;  // see attribute_shares(); null where all weights are 1
    int64_t n, m, k;
};

// The parts of a workspace that hold them.
struct AttributeScratch {
    uint2* a;
    uint2* b;
    double* shares;

    AttributeScratch(Workspace& workspace, const Attributes& attributes, int64_t n, int64_t m) {
        const int64_t words = attribute_code_words(attributes.k);
        a = workspace.take<uint2>(words * n);
        b = workspace.take<uint2>(words * m);
        const bool weighted = attributes.weights.data != nullptr;
        shares = weighted ? workspace.take<double>(attribute_shares(attributes.k)) : nullptr;
    }
};

// The attributes in which two rows differ, as bits.
__device__ inline unsigned differing(uint2 a, uint2 b) {
    return (a.x & b.y) | (a.y & b.x);
}

// out[c] = h(i, first + offset(c)) for kColumns columns.
template <int kColumns, typename T, typename Offset>
__device__ inline void attribute_distances(const AttributeCodes& codes, int64_t i, int64_t first,
                                           Offset offset, T (&out)[kColumns]) {
    if (codes.shares == nullptr) {
        int count[kColumns] = {};
        for (int64_t word = 0; word < attribute_code_words(codes.k); ++word) {
            const uint2 own = codes.a[word * codes.n + i];
            const uint2* others = codes.b + (word * codes.m + first);
#pragma unroll
            for (int c = 0; c < kColumns; ++c)
                count[c] += __popc(differing(own, others[offset(c)]));
        }
        const T total = codes.k > 0 ? static_cast<T>(codes.k) : T(1);
#pragma unroll
        for (int c = 0; c < kColumns; ++c) out[c] = static_cast<T>(count[c]) / total;
        return;
    }
    double sum[kColumns] = {};
    for (int64_t byte = 0; byte * 8 < codes.k; ++byte) {
        const uint2 own = codes.a[byte / 4 * codes.n + i];
        const uint2* others = codes.b + (byte / 4 * codes.m + first);
        const double* shares = codes.shares + byte * 256;
#pragma unroll
        for (int c = 0; c < kColumns; ++c) {
            sum[c] += shares[differing(own, others[offset(c)]) >> byte % 4 * 8 & 255];
        }
    }
    const double total = codes.shares[attribute_shares(codes.k) - 1];
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
        out[c] = total == 0 ? T(0) : static_cast<T>(sum[c]) / static_cast<T>(total);
    }
}

}  // namespace fgsbir::cuda
