// The engine of every operation on all pairs of rows: a block computes one square tile of pairs.
//
// 256 threads in a 16 x 16 grid, each with a square of pairs in registers. Operands pass through
// shared memory in slabs of kDepth, double-buffered: the next slab is fetched into registers while
// the current one is worked on, so one barrier a slab is enough. Device memory is read once a tile:
// kSide rows of each operand for kSide^2 pairs. A thread does kPerThread^2 steps for
// 2 kPerThread values read from shared memory, in vectors of 16 bytes without bank conflicts.
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
        return scales == nullptr ? value : value * (scales + row)[more_rows];
    }
};

template <typename T, int kSide_>
class Tile {
    static constexpr int kGrid = 16;
    static constexpr int kPad = 4;  // keeps 16-byte alignment, spreads stores over banks

  public:
    static constexpr int kSide = kSide_;
    static constexpr int kDepth = kSide == 128 ? 8 : 16;
    static constexpr int kPerThread = kSide / kGrid;
    static constexpr int kVector = kPerThread < 4 ? kPerThread : 4;
    static constexpr int kGroups = kPerThread / kVector;
    static constexpr int kRowLanes = kGrid;  // neighbouring lanes that hold the pairs of one row

    struct Memory {
        alignas(16) T left[2][kDepth][kSide + kPad];
        alignas(16) T right[2][kDepth][kSide + kPad];
    };

    T values[kPerThread][kPerThread];

    __device__ void zero() {
#pragma unroll
        for (int r = 0; r < kPerThread; ++r) {
#pragma unroll
            for (int c = 0; c < kPerThread; ++c) values[r][c] = 0;
        }
    }

    // Takes kVector of the values of a row, for an r and a group that are not known when compiling:
    // registers have no addresses. Value v is that of column group * kVector + v.
    __device__ void copy(int r, int group, T (&out)[kVector]) const {
#pragma unroll
        for (int i = 0; i < kPerThread; ++i) {
#pragma unroll
            for (int g = 0; g < kGroups; ++g) {
                const bool wanted = (i == 0 && g == 0) || (i == r && g == group);
#pragma unroll
                for (int v = 0; v < kVector; ++v) {
                    if (wanted) out[v] = values[i][g * kVector + v];
                }
            }
        }
    }

    // Row and column within the tile of values[r][c].
    __device__ static int row(int r) { return position(r, threadIdx.x / kGrid); }
    __device__ static int column(int c) { return position(c, threadIdx.x % kGrid); }

    // For each k < depth: step(values[r][c], left(row + row(r), k), right(column + column(c), k), r, c).
    // Every thread of the block must call it; the memory is free when it returns.
    template <typename Left, typename Right, typename Step>
    __device__ void accumulate(Memory& memory, const Left& left, int64_t row, const Right& right,
                               int64_t column, int64_t depth, Step step) {
        const int slabs = static_cast<int>((depth + kDepth - 1) / kDepth);
        if (slabs == 0) return;
        T next_left[kLoads], next_right[kLoads];
        fetch(left, row, 0, next_left);
        fetch(right, column, 0, next_right);
        put<Left>(next_left, memory.left[0]);
        put<Right>(next_right, memory.right[0]);
        __syncthreads();
        for (int slab = 0; slab < slabs; ++slab) {
            const int current = slab % 2;
            const bool more = slab + 1 < slabs;
            if (more) {
                const int64_t k = static_cast<int64_t>(slab + 1) * kDepth;
                fetch(left, row, k, next_left);
                fetch(right, column, k, next_right);
            }
            work(memory.left[current], memory.right[current], step);
            if (more) {
                put<Left>(next_left, memory.left[1 - current]);
                put<Right>(next_right, memory.right[1 - current]);
            }
            __syncthreads();
        }
    }

  private:
    static constexpr int kLoads = kSide * kDepth / kTileThreads;
    struct alignas(kVector * sizeof(T) < 16 ? kVector * sizeof(T) : 16) Vector {
        T at[kVector];
    };

    __device__ static int position(int i, int thread) {
        return i / kVector * (kGrid * kVector) + thread * kVector + i % kVector;
    }

    // Where in a slab a thread's loads go: the first, and how far apart they are. Neighbouring
    // threads read neighbouring memory.
    template <typename Operand>
    struct Place {
        static constexpr bool kByDepth = Operand::kDepthContiguous;
        static constexpr int kRowStep = kByDepth ? kTileThreads / kDepth : 0;
        static constexpr int kDepthStep = kByDepth ? 0 : kTileThreads / kSide;

        __device__ static int row() {
            return kByDepth ? threadIdx.x / kDepth : threadIdx.x % kSide;
        }
        __device__ static int depth() {
            return kByDepth ? threadIdx.x % kDepth : threadIdx.x / kSide;
        }
    };

    template <typename Operand>
    __device__ static void fetch(const Operand& operand, int64_t row, int64_t k,
                                 T (&next)[kLoads]) {
        using At = Place<Operand>;
#pragma unroll
        for (int i = 0; i < kLoads; ++i) {
            next[i] = operand.load(row + At::row(), k + At::depth(), i * At::kRowStep,
                                   i * At::kDepthStep);
        }
    }

    template <typename Operand>
    __device__ static void put(const T (&next)[kLoads], T (&slab)[kDepth][kSide + kPad]) {
        using At = Place<Operand>;
#pragma unroll
        for (int i = 0; i < kLoads; ++i) {
            slab[At::depth() + i * At::kDepthStep][At::row() + i * At::kRowStep] = next[i];
        }
    }

    __device__ static void take(const T* values, int thread, T (&own)[kPerThread]) {
#pragma unroll
        for (int i = 0; i < kPerThread; i += kVector) {
            const auto vector = *reinterpret_cast<const Vector*>(values + position(i, thread));
#pragma unroll
            for (int v = 0; v < kVector; ++v) own[i + v] = vector.at[v];
        }
    }

    template <typename Step>
    __device__ void work(const T (&left)[kDepth][kSide + kPad],
                         const T (&right)[kDepth][kSide + kPad], Step step) {
#pragma unroll
        for (int k = 0; k < kDepth; ++k) {
            T a[kPerThread], b[kPerThread];
            take(left[k], threadIdx.x / kGrid, a);
            take(right[k], threadIdx.x % kGrid, b);
#pragma unroll
            for (int r = 0; r < kPerThread; ++r) {
#pragma unroll
                for (int c = 0; c < kPerThread; ++c) step(values[r][c], a[r], b[c], r, c);
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
