// The engine of every operation on all pairs of rows: a block computes one tile of pairs.
//
// 256 threads in a 16 x 16 grid, each with a rectangle of pairs in registers. Operands pass through
// shared memory in slabs of kDepth, double-buffered: the next slab is fetched into registers while
// the current one is worked on, so one barrier a slab is enough. Device memory is read once a tile:
// kRows + kColumns rows for kRows * kColumns pairs. For each k a thread reads kOwnRows +
// kOwnColumns values from shared memory, in vectors of 16 bytes, and does kOwnRows * kOwnColumns
// steps.
//
// This is the form for CUDA cores. An engine for tensor cores has the same face: zero(),
// accumulate(), values, row(), column(), and how many neighbouring lanes share a row.
#pragma once

#include "numeric.cuh"

namespace fgsbir::cuda {

constexpr int kTileThreads = 256;

// An operand: rows of a dense matrix, 0 outside it, each multiplied with its scale where given.
//
// What an operand is asked for is split into a part that differs between threads and a part that
// does not: addresses are then one sum a thread, plus offsets that the whole block shares.
template <typename S>
struct Rows {
    static constexpr bool kDepthContiguous = true;
    const S* data;             // [rows, width]
    const Compute<S>* scales;  // [rows] or null
    int64_t rows, width;

    __device__ Compute<S> load(int64_t row, int64_t k, int more_rows, int more_k) const {
        if (row + more_rows >= rows || k + more_k >= width) return 0;
        const S* own = data + (row * width + k);
        const Compute<S> value = to_compute(own[more_rows * width + more_k]);
        return scales == nullptr ? value : product(value, (scales + row)[more_rows]);
    }
};

template <typename T, int kRows_, int kColumns_>
class Tile {
    static constexpr int kGrid = 16;
    static constexpr int kPad = 4;  // keeps 16-byte alignment, spreads stores over banks

  public:
    static constexpr int kRows = kRows_, kColumns = kColumns_, kDepth = 16;
    static constexpr int kOwnRows = kRows / kGrid, kOwnColumns = kColumns / kGrid;
    static constexpr int kRowLanes = kGrid;  // neighbouring lanes that hold the pairs of one row

    struct Memory {
        alignas(16) T left[2][kDepth][kRows + kPad];
        alignas(16) T right[2][kDepth][kColumns + kPad];
    };

    T values[kOwnRows][kOwnColumns];

    __device__ void zero() {
#pragma unroll
        for (int r = 0; r < kOwnRows; ++r) {
#pragma unroll
            for (int c = 0; c < kOwnColumns; ++c) values[r][c] = 0;
        }
    }

    // out = values[r], for an r that is not known when compiling: registers have no addresses.
    __device__ void copy_row(int r, T (&out)[kOwnColumns]) const {
#pragma unroll
        for (int i = 0; i < kOwnRows; ++i) {
#pragma unroll
            for (int c = 0; c < kOwnColumns; ++c) {
                if (i == 0 || i == r) out[c] = values[i][c];
            }
        }
    }

    // Row and column within the tile of values[r][c].
    __device__ static int row(int r) { return position<kOwnRows>(r, threadIdx.x / kGrid); }
    __device__ static int column(int c) { return position<kOwnColumns>(c, threadIdx.x % kGrid); }

    // For each k < depth: step(values[r][c], left(row + row(r), k), right(column + column(c), k),
    // r, c). Every thread of the block must call it; the memory is free when it returns.
    template <typename Left, typename Right, typename Step>
    __device__ void accumulate(Memory& memory, const Left& left, int64_t row, const Right& right,
                               int64_t column, int64_t depth, Step step) {
        const int slabs = static_cast<int>((depth + kDepth - 1) / kDepth);
        if (slabs == 0) return;
        Slab<Left, kRows> next_left;
        Slab<Right, kColumns> next_right;
        next_left.fetch(left, row, 0);
        next_right.fetch(right, column, 0);
        next_left.put(memory.left[0]);
        next_right.put(memory.right[0]);
        __syncthreads();
        for (int slab = 0; slab < slabs; ++slab) {
            const int current = slab % 2;
            const bool more = slab + 1 < slabs;
            if (more) {
                const int64_t k = static_cast<int64_t>(slab + 1) * kDepth;
                next_left.fetch(left, row, k);
                next_right.fetch(right, column, k);
            }
            work(memory.left[current], memory.right[current], step);
            if (more) {
                next_left.put(memory.left[1 - current]);
                next_right.put(memory.right[1 - current]);
            }
            __syncthreads();
        }
    }

  private:
    // What a thread carries of an operand from device to shared memory. Neighbouring threads read
    // neighbouring memory; a thread's loads are equally far apart.
    template <typename Operand, int kSide>
    struct Slab {
        static constexpr bool kByDepth = Operand::kDepthContiguous;
        static constexpr int kRowStep = kByDepth ? kTileThreads / kDepth : 0;
        static constexpr int kDepthStep = kByDepth ? 0 : kTileThreads / kSide;
        static constexpr int kLoads = kSide * kDepth / kTileThreads;
        T values[kLoads];

        __device__ static int row() {
            return kByDepth ? threadIdx.x / kDepth : threadIdx.x % kSide;
        }
        __device__ static int depth() {
            return kByDepth ? threadIdx.x % kDepth : threadIdx.x / kSide;
        }
        __device__ void fetch(const Operand& operand, int64_t first_row, int64_t k) {
#pragma unroll
            for (int i = 0; i < kLoads; ++i) {
                values[i] =
                    operand.load(first_row + row(), k + depth(), i * kRowStep, i * kDepthStep);
            }
        }
        __device__ void put(T (&slab)[kDepth][kSide + kPad]) const {
#pragma unroll
            for (int i = 0; i < kLoads; ++i) {
                slab[depth() + i * kDepthStep][row() + i * kRowStep] = values[i];
            }
        }
    };

    template <int kOwn>
    static constexpr int kVector = kOwn < 4 ? kOwn : 4;

    // Which row or column is the i-th of a thread's own: vectors of neighbours.
    template <int kOwn>
    __device__ static int position(int i, int thread) {
        constexpr int vector = kVector<kOwn>;
        return i / vector * (kGrid * vector) + thread * vector + i % vector;
    }

    template <int kOwn>
    __device__ static void take(const T* slab, int thread, T (&own)[kOwn]) {
        constexpr int vector = kVector<kOwn>;
        struct alignas(vector * sizeof(T) < 16 ? vector * sizeof(T) : 16) Vector {
            T at[vector];
        };
#pragma unroll
        for (int i = 0; i < kOwn; i += vector) {
            const auto taken = *reinterpret_cast<const Vector*>(slab + position<kOwn>(i, thread));
#pragma unroll
            for (int v = 0; v < vector; ++v) own[i + v] = taken.at[v];
        }
    }

    template <typename Step>
    __device__ void work(const T (&left)[kDepth][kRows + kPad],
                         const T (&right)[kDepth][kColumns + kPad], Step step) {
#pragma unroll
        for (int k = 0; k < kDepth; ++k) {
            T a[kOwnRows], b[kOwnColumns];
            take(left[k], threadIdx.x / kGrid, a);
            take(right[k], threadIdx.x % kGrid, b);
#pragma unroll
            for (int r = 0; r < kOwnRows; ++r) {
#pragma unroll
                for (int c = 0; c < kOwnColumns; ++c) step(values[r][c], a[r], b[c], r, c);
            }
        }
    }
};

// Inner products.
struct Product {
    template <typename T>
    __device__ void operator()(T& sum, T a, T b, int, int) const {
        sum += a * b;
    }
};

// Sums of squared differences: twice the arithmetic of Product, and every digit of a small one.
struct SquaredDifference {
    template <typename T>
    __device__ void operator()(T& sum, T a, T b, int, int) const {
        const T difference = a - b;
        sum += difference * difference;
    }
};

// The distance, given the inner product. The norms are squared norms, inverse norms for cosine.
template <typename T>
__device__ inline T distance_from_product(T product, T norm_a, T norm_b, Metric metric) {
    if (metric == Metric::cosine) return not_below_zero(1 - product * norm_a * norm_b);
    const T squared = not_below_zero(norm_a + norm_b - 2 * product);
    return metric == Metric::sqeuclidean ? squared : std::sqrt(squared);
}

}  // namespace fgsbir::cuda
