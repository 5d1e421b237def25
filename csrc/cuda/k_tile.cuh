// K-tiles, the operands of tensor cores in shared memory: 64 bytes of every row as they lie in
// device memory, 32 numbers of 16 bits or 16 of float32.
//
// They come by asynchronous copies, or where rows are not multiples of 16 bytes by plain loads.
// What lies outside the operand is zero.
//
// Chunks of 16 bytes are swizzled within a row: any 8 rows of which a tensor core reads one chunk
// at once, and any two rows that a quarter of a warp writes, lie in different banks. From a
// multiple of kKTileAlignment on that is the 64-byte swizzle of the PTX ISA, bits 4 and 5 of the
// address exclusive-or bits 7 and 8, by which wgmma finds its operands.
#pragma once

#include "mma.cuh"
#include "tile.cuh"

namespace fgsbir::cuda {

constexpr int kKTileBytes = 64;  // of a row
constexpr int kChunkBytes = 16, kChunks = kKTileBytes / kChunkBytes;
constexpr int kKTileAlignment = 512;

template <typename S>
struct KTile {
    static constexpr int kDepth = kKTileBytes / sizeof(S), kChunk = kChunkBytes / sizeof(S);

    __device__ static int count(int64_t depth) {
        return static_cast<int>((depth + kDepth - 1) / kDepth);
    }

    __device__ static bool in_whole_chunks(const Rows<S>& operand) {
        const auto address = reinterpret_cast<uintptr_t>(operand.data);
        const auto row_bytes = static_cast<uintptr_t>(operand.width) * sizeof(S);
        return ((address | row_bytes) & (kChunkBytes - 1)) == 0;
    }

    // Where a chunk of a row lies in a k-tile, in bytes.
    __device__ static int chunk_offset(int row, int chunk) {
        return row * kKTileBytes + (chunk ^ (row / 2 % kChunks)) * kChunkBytes;
    }

    // A thread's chunks of a k-tile: the same of every kRowStep-th row.
    static constexpr int kRowStep = kTileThreads / kChunks;
    __device__ static int own_row() { return threadIdx.x / kChunks; }
    __device__ static int own_chunk() { return threadIdx.x % kChunks; }

    // Whether the thread's chunk of a k-tile exists, for rows of so many chunks.
    __device__ static bool own_chunk_exists(int k_tile, int chunks) {
        return k_tile * kChunks + own_chunk() < chunks;
    }

    // K-tile after k-tile of one operand, by asynchronous copies.
    template <int kSide>
    struct Stream {
        static_assert(kSide % kRowStep == 0);
        const S* from;   // the thread's first row, where its chunk of the next k-tile begins
        int64_t stride;  // from one of its rows to the next
        int rows;        // from its first row on, how many rows exist
        int to;          // where the chunk goes in a k-tile

        __device__ Stream(const Rows<S>& operand, int64_t first_row, int k_tile = 0) {
            from = operand.data + (first_row * operand.width + k_tile * kDepth) +
                   (own_row() * operand.width + own_chunk() * kChunk);
            stride = kRowStep * operand.width;
            rows = static_cast<int>(min(operand.rows - first_row, int64_t(kSide))) - own_row();
            to = chunk_offset(own_row(), own_chunk());
        }
        __device__ void copy(unsigned char* k_tile, bool chunk_exists) {
#pragma unroll
            for (int i = 0; i < kSide / kRowStep; ++i) {
                cp_async_16(k_tile + (to + i * kRowStep * kKTileBytes), from + i * stride,
                            chunk_exists && i * kRowStep < rows);
            }
            from += kDepth;
        }
    };

    // K-tile after k-tile of both operands, by plain stores. After each, work() is to let all
    // threads have stored theirs, and to be done with reading them when all have come to the next
    // barrier.
    template <int kLeftBytes, int kRightBytes, typename Work>
    __device__ static void by_hand(unsigned char (&left_memory)[kLeftBytes], const Rows<S>& left,
                                   int64_t first_row, unsigned char (&right_memory)[kRightBytes],
                                   const Rows<S>& right, int64_t first_column, int k_tiles,
                                   Work work) {
        for (int k_tile = 0; k_tile < k_tiles; ++k_tile) {
            const int64_t k = static_cast<int64_t>(k_tile) * kDepth;
            put<kLeftBytes / kKTileBytes>(left_memory, left, first_row, k);
            put<kRightBytes / kKTileBytes>(right_memory, right, first_column, k);
            work();
            __syncthreads();  // frees the memory for the next k-tile
        }
    }

  private:
    struct alignas(kChunkBytes) Chunk {
        S at[kChunk];
    };

    // The thread's chunks of a k-tile of one operand, number by number.
    template <int kSide>
    __device__ static void put(unsigned char* memory, const Rows<S>& operand, int64_t first_row,
                               int64_t k) {
        k += own_chunk() * kChunk;
#pragma unroll 1
        for (int own = own_row(); own < kSide; own += kRowStep) {
            const int64_t row = first_row + own;
            const int64_t there = row < operand.rows ? operand.width - k : 0;
            Chunk chunk;
#pragma unroll
            for (int i = 0; i < kChunk; ++i) {
                chunk.at[i] = i < there ? operand.data[row * operand.width + k + i] : S{};
            }
            *reinterpret_cast<Chunk*>(memory + chunk_offset(own, own_chunk())) = chunk;
        }
    }
};

}  // namespace fgsbir::cuda
