// The attribute distance of all pairs of rows.
//
// Attributes are packed to bits first (prepare.cu). A thread then takes the pairs of one row of a
// with kColumns columns. Memory traffic: the output, [n, m] floats, once; the codes of a block's
// columns stay in the first cache while the block walks over its rows.

#include "attributes.cuh"

namespace fgsbir::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kColumns = 4;
constexpr int kRows = 16;

__global__ void __launch_bounds__(kThreads)
    attribute_distance_kernel(const AttributeCodes codes, float* distance /* [n, m] */,
                              unsigned column_blocks) {
    const int64_t first_row = int64_t(blockIdx.x / column_blocks) * kRows;
    const int64_t first_column = int64_t(blockIdx.x % column_blocks) * (kColumns * kThreads);
    const int columns =
        static_cast<int>(min(codes.m - first_column, static_cast<int64_t>(kColumns * kThreads)));
    const auto column = [&](int c) {
        return min(static_cast<int>(threadIdx.x) + c * kThreads, columns - 1);
    };
    for (int64_t i = first_row; i < first_row + kRows && i < codes.n; ++i) {
        float h[kColumns];
        attribute_distances(codes, i, first_column, column, h);
#pragma unroll
        for (int c = 0; c < kColumns; ++c) {
            const int j = threadIdx.x + c * kThreads;
            if (j < columns) (distance + (i * codes.m + first_column))[j] = h[c];
        }
    }
}

}  // namespace

int64_t attribute_distance_workspace(const Attributes& attributes, int64_t n, int64_t m) {
    Workspace workspace(nullptr);
    AttributeScratch(workspace, attributes, n, m);
    return workspace.size();
}

void attribute_distance(const Attributes& attributes, float* distance, int64_t n, int64_t m,
                        void* memory, Stream stream) {
    if (n == 0 || m == 0) return;
    Workspace workspace(memory);
    const AttributeScratch scratch(workspace, attributes, n, m);
    Preparation preparation = {};
    preparation.a = {n, nullptr, nullptr, attributes.a, scratch.a};
    preparation.b = {m, nullptr, nullptr, attributes.b, scratch.b};
    preparation.k = attributes.k;
    preparation.weights = attributes.weights;
    preparation.shares = scratch.shares;
    prepare(preparation, stream);

    const AttributeCodes codes = {scratch.a, scratch.b, scratch.shares, n, m, attributes.k};
    const unsigned column_blocks = grid_of(ceil_div(m, kColumns * kThreads));
    FGSBIR_CHECK_CUDA(launch(attribute_distance_kernel, grid_of(column_blocks * ceil_div(n, kRows)),
                             kThreads, 0, stream, codes, distance, column_blocks));
}

}  // namespace fgsbir::cuda
