// Preparation of single rows, in one launch: norms, packed attributes, attribute weights.
#pragma once

#include "launch.h"

namespace fgsbir::cuda {

// One of the two sets of rows. Null pointers: not wanted.
struct RowSet {
    int64_t n;
    const void* rows;  // [n, d]
    void* norms;       // [n] T: squared norms, or inverse norms with 0 for the zero vector
    Array attributes;  // [n, k]
    uint2* codes;      // [words, n]: x has the bits that are yes, y those that are no
};

struct Preparation {
    ScalarType type;
    int64_t d;
    bool inverse_norms;
    RowSet a, b;
    int64_t k;
    Array weights;                // [k]
    double* shares;               // what differing bits count, see attribute_shares
    unsigned long long* closest;  // [a.n], set to all ones
};

__host__ __device__ constexpr int64_t attribute_code_words(int64_t k) {
    return (k + 31) / 32;
}

// For each byte of differing bits, in each of its 256 values, the sum of the weights of the bits
// that are set: [bytes, 256]; then the sum of all weights.
__host__ __device__ constexpr int64_t attribute_shares(int64_t k) {
    return (k + 7) / 8 * 256 + 1;
}

void prepare(const Preparation& preparation, cudaStream_t stream);

}  // namespace fgsbir::cuda
