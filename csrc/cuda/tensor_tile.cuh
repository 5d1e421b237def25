// The engine of inner products for tensor cores (sm_80 and later), with the face of Tile.
//
// A slab is 64 bytes of every row of both operands: 32 numbers of 16 bits or 16 of float32, as they
// lie in device memory. Three stages of slabs pass through shared memory by asynchronous copies, so
// that two are on their way while one is worked on, and one barrier a slab is enough: the stage
// that is filled after it is the one that all warps left before it. Where rows are not multiples of
// 16 bytes, plain loads take the place of the copies. What lies outside the operands is zero.
//
// Chunks of 16 bytes are swizzled within a row: any 8 rows that ldmatrix reads at once, and any two
// rows that a quarter of a warp writes, lie in different banks. ldmatrix knows nothing of types; it
// gives 16-bit and TF32 fragments alike, so that one addressing serves both.
//
// Eight warps, 4 down and 2 across: at 128 x 128 each has 32 x 64 pairs, 2 x 8 blocks of 16 x 8. Of
// the shapes with 64 sums a thread, 32 x 64 and 64 x 32 read least from shared memory, 6 ldmatrix
// for 16 multiplications. 32 x 64 has its rows in two warps and four registers of each, where
// 64 x 32 has them in four warps and eight: half the work of reducing a row. 64 sums and 24
// registers of fragments leave room for two blocks on a multiprocessor.
//
// Numbers of 16 bits: their products are exact, and summed in float32. Float32: each number is
// split into the nearest TF32 number and what is left of it, x = big + small, and three of the four
// products are summed, small first. The fourth is below 2^-22 of the product, and so is what the
// tensor core cuts off small. It cuts off its sums too where CUDA cores round, so that sums of 8
// are added up outside of it: a cut at each of hundreds of steps would drift. Where big overflows
// the sum is NaN, and its users look at a NaN anew.
#pragma once

#include "mma.cuh"
#include "tile.cuh"

namespace fgsbir::cuda {

template <typename S, int kRows_, int kColumns_>
class TensorTile : public Accumulators<float, FragmentLayout<kRows_, kColumns_>> {
    using Own = Accumulators<float, FragmentLayout<kRows_, kColumns_>>;
    static constexpr int kStages = 3, kSlabBytes = 64;
    static constexpr int kChunkBytes = 16, kChunks = kSlabBytes / kChunkBytes;
    static constexpr int kStepBytes = 2 * kChunkBytes, kSteps = kSlabBytes / kStepBytes;
    static constexpr int kChunk = kChunkBytes / sizeof(S);
    static constexpr int kStepsAtOnce = sizeof(S) == 2 ? kSteps : 1;  // as registers allow
    static_assert(sizeof(S) == 2 || std::is_same_v<S, float>);

  public:
    static constexpr int kRows = kRows_, kColumns = kColumns_, kDepth = kSlabBytes / sizeof(S);
    static constexpr bool kAvailable = kTensorCores;
    using Own::kOwnColumns;
    using Own::kOwnRows;
    using Own::values;

    struct Memory {
        alignas(16) unsigned char left[kStages][kRows * kSlabBytes];
        alignas(16) unsigned char right[kStages][kColumns * kSlabBytes];
    };

    // values[r][c] += the inner product of left's row first_row + row(r) and right's row
    // first_column + column(c). Both operands are `depth` wide. Every thread of the block must call
    // it; when it returns, all have come to its end and the memory is free.
    __device__ void accumulate(Memory& memory, const Rows<S>& left, int64_t first_row,
                               const Rows<S>& right, int64_t first_column, int64_t depth, Product) {
        const int slabs = static_cast<int>((depth + kDepth - 1) / kDepth);
        if (slabs > 0 && in_whole_chunks(left) && in_whole_chunks(right)) {
            stream(memory, left, first_row, right, first_column, slabs);
        } else {
            by_hand(memory, left, first_row, right, first_column, slabs);
        }
        __syncthreads();
    }

  private:
    __device__ static bool in_whole_chunks(const Rows<S>& operand) {
        const auto address = reinterpret_cast<uintptr_t>(operand.data);
        const auto row_bytes = static_cast<uintptr_t>(operand.width) * sizeof(S);
        return ((address | row_bytes) & (kChunkBytes - 1)) == 0;
    }

    // Where a chunk of a row lies in a slab, in bytes.
    __device__ static int chunk_offset(int row, int chunk) {
        return row * kSlabBytes + (chunk ^ (row / 2 % kChunks)) * kChunkBytes;
    }

    // A thread's chunks of a slab: the same of every kRowStep-th row.
    static constexpr int kRowStep = kTileThreads / kChunks;
    __device__ static int own_row() { return threadIdx.x / kChunks; }
    __device__ static int own_chunk() { return threadIdx.x % kChunks; }

    // Slab after slab of one operand, by asynchronous copies.
    template <int kSide>
    struct Stream {
        static_assert(kSide % kRowStep == 0);
        const S* from;   // the thread's first row, where its chunk of the next slab begins
        int64_t stride;  // from one of its rows to the next
        int rows;        // how many of them exist
        int to;          // where the chunk goes in a slab

        __device__ Stream(const Rows<S>& operand, int64_t first_row) {
            const int64_t row = first_row + own_row();
            from = operand.data + (row * operand.width + own_chunk() * kChunk);
            stride = kRowStep * operand.width;
            const int64_t there = (operand.rows - row + (kRowStep - 1)) / kRowStep;
            rows = static_cast<int>(max(int64_t(0), min(there, int64_t(kSide / kRowStep))));
            to = chunk_offset(own_row(), own_chunk());
        }
        __device__ void copy(unsigned char* slab, bool chunk_exists) {
#pragma unroll
            for (int i = 0; i < kSide / kRowStep; ++i) {
                cp_async_16(slab + (to + i * kRowStep * kSlabBytes), from + i * stride,
                            chunk_exists && i < rows);
            }
            from += kDepth;
        }
    };

    __device__ void stream(Memory& memory, const Rows<S>& left, int64_t first_row,
                           const Rows<S>& right, int64_t first_column, int slabs) {
        Stream<kRows> from_left(left, first_row);
        Stream<kColumns> from_right(right, first_column);
        const int chunks = static_cast<int>(left.width / kChunk);
        const auto fetch = [&](int slab, int stage) {
            if (slab < slabs) {
                const bool exists = slab * kChunks + own_chunk() < chunks;
                from_left.copy(memory.left[stage], exists);
                from_right.copy(memory.right[stage], exists);
            }
            cp_async_commit();
        };
#pragma unroll
        for (int slab = 0; slab < kStages - 1; ++slab) fetch(slab, slab);
        int stage = 0, filled = kStages - 1;
        for (int slab = 0; slab < slabs; ++slab) {
            cp_async_wait<kStages - 2>();
            __syncthreads();
            fetch(slab + kStages - 1, filled);
            work(memory.left[stage], memory.right[stage]);
            filled = stage;
            stage = stage == kStages - 1 ? 0 : stage + 1;
        }
    }

    struct alignas(kChunkBytes) Chunk {
        S at[kChunk];
    };

    // The thread's chunks of a slab of one operand, number by number.
    template <int kSide>
    __device__ static void put(unsigned char* slab, const Rows<S>& operand, int64_t first_row,
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
            *reinterpret_cast<Chunk*>(slab + chunk_offset(own, own_chunk())) = chunk;
        }
    }

    __device__ void by_hand(Memory& memory, const Rows<S>& left, int64_t first_row,
                            const Rows<S>& right, int64_t first_column, int slabs) {
        for (int slab = 0; slab < slabs; ++slab) {
            const int64_t k = static_cast<int64_t>(slab) * kDepth;
            put<kRows>(memory.left[0], left, first_row, k);
            put<kColumns>(memory.right[0], right, first_column, k);
            __syncthreads();
            work(memory.left[0], memory.right[0]);
            __syncthreads();
        }
    }

    __device__ void work(const unsigned char* left, const unsigned char* right) {
        const int lane = threadIdx.x % kWarp;
        // Of left: 16 rows, first their first chunks. Of right: two times 8 rows with both chunks.
        const int a_at = chunk_offset(Own::first_row() + lane % 16, lane / 16);
        const int b_at = chunk_offset(Own::first_column() + lane / 16 * 8 + lane % 8, lane / 8 % 2);
        constexpr int kBlock = 16 * kSlabBytes;
#pragma unroll kStepsAtOnce
        for (int step = 0; step < kSteps; ++step) {
            const int flip = step * kStepBytes;  // a bit of the chunk: adding is flipping
            Fragment a[kOwnRows / 2];
#pragma unroll
            for (int block = 0; block < kOwnRows / 2; ++block) {
                a[block].load(left + ((a_at ^ flip) + block * kBlock));
            }
#pragma unroll
            for (int pair = 0; pair < kOwnColumns / 4; ++pair) {
                Fragment b;
                b.load(right + ((b_at ^ flip) + pair * kBlock));
#pragma unroll
                for (int block = 0; block < kOwnRows / 2; ++block) {
                    multiply(a[block], b, 0, block, 4 * pair);
                    multiply(a[block], b, 2, block, 4 * pair + 2);
                }
            }
        }
    }

    // Four registers of a warp's lanes: of left 16 rows of a step, of right twice 8.
    struct Fragment {
        unsigned big[4], small[4];  // `small` for float32 alone

        __device__ void load(const unsigned char* at) {
            ldmatrix_x4(big, at);
            if constexpr (std::is_same_v<S, float>) {
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    const float value = __uint_as_float(big[i]);
                    big[i] = nearest_tf32(big[i]);
                    small[i] = __float_as_uint(value - __uint_as_float(big[i]));
                }
            }
        }
    };

    // Half a unit is added to what is kept, and the rest cut off. A NaN may become 0 and the
    // largest numbers infinite; what is left of those, x - big, is then NaN or infinite.
    __device__ static unsigned nearest_tf32(unsigned bits) { return (bits + 0x1000u) & ~0x1fffu; }

    // The block of 16 x 8 pairs in rows 2 block, 2 block + 1 and columns c, c + 1 of values.
    __device__ void multiply(const Fragment& a, const Fragment& b, int at, int block, int c) {
        float &c0 = values[2 * block][c], &c1 = values[2 * block][c + 1];
        float &c2 = values[2 * block + 1][c], &c3 = values[2 * block + 1][c + 1];
        if constexpr (std::is_same_v<S, float>) {
            float sums[4] = {};
            const auto add = [&](const unsigned (&x)[4], const unsigned (&y)[4]) {
                mma_m16n8k8_tf32(sums[0], sums[1], sums[2], sums[3], x, y[at], y[at + 1]);
            };
            add(a.small, b.big);
            add(a.big, b.small);
            add(a.big, b.big);
            c0 += sums[0];
            c1 += sums[1];
            c2 += sums[2];
            c3 += sums[3];
        } else {
            mma_m16n8k16<S>(c0, c1, c2, c3, a.big, b.big[at], b.big[at + 1]);
        }
    }
};

}  // namespace fgsbir::cuda
