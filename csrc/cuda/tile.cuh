// Engine of inner products on CUDA cores: a block computes one tile of pairs of rows.
//
// 256 threads, each with some rows and columns of the tile (layout.cuh) whose pairs it sums in
// registers. Operands pass through shared memory in k-tiles of kDepth, double-buffered: the next
// k-tile is fetched into registers while the current one is worked on, so one barrier a k-tile is
// enough. Device memory is read once a tile: kRows + kColumns rows for kRows * kColumns pairs. For
// each k a thread reads kOwnRows + kOwnColumns values from shared memory, in vectors of up to 16
// bytes, and does kOwnRows * kOwnColumns steps.
//
// This is the form for CUDA cores, for every type and every step. Tiles on tensor cores
// (tensor_engines.cuh) have the same interface, for inner products alone: the constants at the top
// of the class, Memory, accumulate(), and what Accumulators has.
#pragma once

#include "layout.cuh"

namespace fgsbir::cuda {

// An operand: rows of a dense matrix, 0 outside it.
//
// What an operand is asked for is split into a part that differs between threads and a part that
// does not: addresses are then one sum a thread, plus offsets that the whole block shares.
template <typename S>
struct Rows {
    static constexpr bool kDepthContiguous = true;
    const S* data;  // [rows, width]
    int64_t rows, width;

    __device__ Compute<S> load(int64_t row, int64_t k, int more_rows, int more_k) const {
        if (row + more_rows >= rows || k + more_k >= width) return 0;
        const S* own = data + (row * width + k);
        return to_compute(own[more_rows * width + more_k]);
    }
};

// The same, each row multiplied with its scale where those are given.
template <typename S>
struct ScaledRows : Rows<S> {
    const Compute<S>* scales;  // [rows] or null

    __device__ Compute<S> load(int64_t row, int64_t k, int more_rows, int more_k) const {
        const Compute<S> value = Rows<S>::load(row, k, more_rows, more_k);
        if (scales == nullptr || row + more_rows >= this->rows) return value;
        return product(value, (scales + row)[more_rows]);
    }
};

template <typename T, int kRows_, int kColumns_, typename Layout_ = GridLayout<kRows_, kColumns_>>
class Tile : public Accumulators<T, Layout_> {
    using Own = Accumulators<T, Layout_>;
    static constexpr int kPad = 4;  // keeps 16-byte alignment, spreads stores over banks

  public:
    static constexpr int kRows = kRows_, kColumns = kColumns_, kDepth = 16;
    static constexpr int kScannedWords = 2;   // see mine_scan.cuh
    static constexpr bool kAvailable = true;  // on every chip
    static constexpr size_t kMostShared = kSharedWithoutAsking;
    using Own::column;
    using Own::kColumnVector;
    using Own::kOwnColumns;
    using Own::kOwnRows;
    using Own::kRowVector;
    using Own::row;
    using Own::values;

    struct Memory {
        alignas(16) T left[2][kDepth][kRows + kPad];
        alignas(16) T right[2][kDepth][kColumns + kPad];
    };

    // From values of 0 on, for each k < depth: step(values[r][c], left(first_row + row(r), k),
    // right(first_column + column(c), k), r, c). Every thread of the block must call it; when it
    // returns, all have come to its end and the memory is free.
    //
    // `next_column` is the first_column of the next call, whose operands an engine may ask for
    // before it returns.
    template <typename Left, typename Right, typename Step>
    __device__ void accumulate(Memory& memory, const Left& left, int64_t first_row,
                               const Right& right, int64_t first_column, int64_t depth, Step step,
                               int64_t /* next_column */ = kNoTile) {
        Own::zero();
        const int k_tiles = static_cast<int>((depth + kDepth - 1) / kDepth);
        if (k_tiles == 0) return __syncthreads();  // as at the end of any other call
        StagedCopy<Left, kRows> next_left;
        StagedCopy<Right, kColumns> next_right;
        next_left.fetch(left, first_row, 0);
        next_right.fetch(right, first_column, 0);
        next_left.put(memory.left[0]);
        next_right.put(memory.right[0]);
        __syncthreads();  // publishes the first k-tile
        for (int k_tile = 0; k_tile < k_tiles; ++k_tile) {
            const int current = k_tile % 2;
            const bool more = k_tile + 1 < k_tiles;
            if (more) {
                const int64_t k = static_cast<int64_t>(k_tile + 1) * kDepth;
                next_left.fetch(left, first_row, k);
                next_right.fetch(right, first_column, k);
            }
            work(memory.left[current], memory.right[current], step);
            if (more) {
                next_left.put(memory.left[1 - current]);
                next_right.put(memory.right[1 - current]);
            }
            __syncthreads();  // publishes the next k-tile, and frees this stage
        }
    }

  private:
    // What a thread carries of an operand from device to shared memory. Neighbouring threads read
    // neighbouring memory; a thread's loads are equally far apart.
    template <typename Operand, int kSide>
    struct StagedCopy {
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
        __device__ void put(T (&k_tile)[kDepth][kSide + kPad]) const {
#pragma unroll
            for (int i = 0; i < kLoads; ++i) {
                k_tile[depth() + i * kDepthStep][row() + i * kRowStep] = values[i];
            }
        }
    };

    // own[i] = k-tile[position(i)], where vectors of kVector neighbours lie together.
    template <int kVector, int kOwn, typename Position>
    __device__ static void take(const T* k_tile, T (&own)[kOwn], Position position) {
        struct alignas(kVector * sizeof(T) < 16 ? kVector * sizeof(T) : 16) Vector {
            T at[kVector];
        };
#pragma unroll
        for (int i = 0; i < kOwn; i += kVector) {
            const auto taken = *reinterpret_cast<const Vector*>(k_tile + position(i));
#pragma unroll
            for (int v = 0; v < kVector; ++v) own[i + v] = taken.at[v];
        }
    }

    template <typename Step>
    __device__ void work(const T (&left)[kDepth][kRows + kPad],
                         const T (&right)[kDepth][kColumns + kPad], Step step) {
#pragma unroll
        for (int k = 0; k < kDepth; ++k) {
            T a[kOwnRows], b[kOwnColumns];
            take<kRowVector>(left[k], a, row);
            take<kColumnVector>(right[k], b, column);
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

}  // namespace fgsbir::cuda
