// Norms of embeddings, attributes as packed bits, the table of attribute weights.
//
// One warp a row, 32 weights-table entries a warp. Memory traffic: every embedding and attribute is
// read once, a few bytes a row are written. Limits: none but the size of the grid.

#include "numeric.cuh"
#include "prepare.h"

namespace fgsbir::cuda {
namespace {

constexpr int kWarps = 8;

template <typename S>
__device__ void write_norm(const Preparation& in, const RowSet& set, int64_t row) {
    using T = Compute<S>;
    const int lane = threadIdx.x % kWarp;
    const S* values = static_cast<const S*>(set.rows) + row * in.d;
    T squared = 0;
    for (int64_t k = lane; k < in.d; k += kWarp) {
        const T value = to_compute(values[k]);
        squared += value * value;
    }
    squared = warp_sum(squared);
    if (lane != 0) return;
    T* norm = static_cast<T*>(set.norms) + row;
    *norm = in.inverse_norms ? inverse_norm_of(squared) : squared;
}

__device__ void write_codes(const Preparation& in, const RowSet& set, int64_t row) {
    const int lane = threadIdx.x % kWarp;
    const int64_t words = attribute_code_words(in.k);
    for (int64_t word = 0; word < words; ++word) {
        const int64_t k = word * 32 + lane;
        const Answer answer =
            k < in.k ? load_attribute(set.attributes, row * in.k + k) : Answer::unknown;
        const unsigned yes = __ballot_sync(kFullMask, answer == Answer::yes);
        const unsigned no = __ballot_sync(kFullMask, answer == Answer::no);
        if (lane == 0) set.codes[word * set.n + row] = make_uint2(yes, no);
    }
}

// The entry of this lane among the 32 that start at `first`, or for the last warp the total.
__device__ void write_shares(const Preparation& in, int64_t first) {
    const int lane = threadIdx.x % kWarp;
    const int64_t entries = attribute_shares(in.k) - 1;
    double sum = 0;
    if (first < entries) {
        const int64_t entry = first + lane, k = entry / 256 * 8;
        for (int bit = 0; bit < 8; ++bit) {
            if (entry >> bit & 1 && k + bit < in.k) sum += load_scalar(in.weights, k + bit);
        }
        in.shares[entry] = sum;
        return;
    }
    for (int64_t k = lane; k < in.k; k += kWarp) sum += load_scalar(in.weights, k);
    sum = warp_sum(sum);
    if (lane == 0) in.shares[entries] = sum;
}

template <typename S>
__global__ void __launch_bounds__(kWarps* kWarp) prepare_rows(const Preparation in) {
    int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarp;
    const bool first = row < in.a.n;
    if (first && in.closest != nullptr && threadIdx.x % kWarp == 0) in.closest[row] = ~0ull;
    if (!first) row -= in.a.n;
    const RowSet& set = first ? in.a : in.b;
    if (row < set.n) {
        if (set.norms != nullptr) write_norm<S>(in, set, row);
        if (set.codes != nullptr) write_codes(in, set, row);
    } else if (in.shares != nullptr) {
        const int64_t entry = (row - set.n) * kWarp;
        if (entry < attribute_shares(in.k)) write_shares(in, entry);
    }
}

}  // namespace

void prepare(const Preparation& in, cudaStream_t stream) {
    const int64_t entries = in.shares == nullptr ? 0 : attribute_shares(in.k);
    const int64_t warps = in.a.n + in.b.n + ceil_div(entries, kWarp);
    with_type(in.type, [&](auto type) {
        FGSBIR_CHECK_CUDA(launch(prepare_rows<decltype(type)>, grid_of(ceil_div(warps, kWarps)),
                                 kWarps * kWarp, 0, stream, in));
    });
}

}  // namespace fgsbir::cuda
