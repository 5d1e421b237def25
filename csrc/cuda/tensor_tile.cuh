// Engine of inner products for tensor cores (sm_80 and later), with the interface of Tile.
//
// Three stages of k-tiles (k_tile.cuh) pass through shared memory, so that two are on their way
// while one is worked on, and one barrier a k-tile is enough: the stage that is filled after it is
// the one that all warps left before it. ldmatrix knows nothing of types; it gives 16-bit and TF32
// fragments alike, so that one addressing serves both.
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

#include "k_tile.cuh"

namespace fgsbir::cuda {

template <typename S, int kRows_, int kColumns_>
class TensorTile : public Accumulators<float, FragmentLayout<kRows_, kColumns_, 4>> {
    using Own = Accumulators<float, FragmentLayout<kRows_, kColumns_, 4>>;
    using KTile = fgsbir::cuda::KTile<S>;
    static constexpr int kStages = 3;
    static constexpr int kStepBytes = 2 * kChunkBytes, kSteps = kKTileBytes / kStepBytes;
    static constexpr int kStepsAtOnce = sizeof(S) == 2 ? kSteps : 1;  // as registers allow
    static_assert(sizeof(S) == 2 || std::is_same_v<S, float>);

  public:
    static constexpr int kRows = kRows_, kColumns = kColumns_;
    static constexpr int kScannedWords = 2;  // see mine_scan.cuh
    static constexpr bool kAvailable = kTensorCores;
    static constexpr size_t kMostShared = kSharedOfTensorCores;
    using Own::kOwnColumns;
    using Own::kOwnRows;
    using Own::values;

    struct Memory {
        alignas(16) unsigned char left[kStages][kRows * kKTileBytes];
        alignas(16) unsigned char right[kStages][kColumns * kKTileBytes];
    };

    // values[r][c] = the inner product of left's row first_row + row(r) and right's row
    // first_column + column(c). Both operands are `depth` wide. Every thread of the block must call
    // it; when it returns, all have come to its end and the memory is free.
    __device__ void accumulate(Memory& memory, const Rows<S>& left, int64_t first_row,
                               const Rows<S>& right, int64_t first_column, int64_t depth, Product,
                               int64_t /* next_column */ = kNoTile) {
        Own::zero();
        const int k_tiles = KTile::count(depth);
        if (k_tiles > 0 && KTile::in_whole_chunks(left) && KTile::in_whole_chunks(right)) {
            stream(memory, left, first_row, right, first_column, k_tiles);
        } else {
            KTile::by_hand(memory.left[0], left, first_row, memory.right[0], right, first_column,
                           k_tiles, [&] {
                               __syncthreads();  // publishes the k-tile
                               work(memory.left[0], memory.right[0]);
                           });
        }
        __syncthreads();  // frees the memory
    }

  private:
    __device__ void stream(Memory& memory, const Rows<S>& left, int64_t first_row,
                           const Rows<S>& right, int64_t first_column, int k_tiles) {
        typename KTile::Stream<kRows> from_left(left, first_row);
        typename KTile::Stream<kColumns> from_right(right, first_column);
        const int chunks = static_cast<int>(left.width / KTile::kChunk);
        const auto fetch = [&](int k_tile, int stage) {
            if (k_tile < k_tiles) {
                const bool exists = KTile::own_chunk_exists(k_tile, chunks);
                from_left.copy(memory.left[stage], exists);
                from_right.copy(memory.right[stage], exists);
            }
            cp_async_commit();
        };
#pragma unroll
        for (int k_tile = 0; k_tile < kStages - 1; ++k_tile) fetch(k_tile, k_tile);  // prologue
        int stage = 0, filled = kStages - 1;
        for (int k_tile = 0; k_tile < k_tiles; ++k_tile) {  // main loop
            cp_async_wait<kStages - 2>();  // this thread's copies of this stage have come,
            __syncthreads();  // and everybody's; the stage before, to be filled next, is free
            fetch(k_tile + kStages - 1, filled);
            work(memory.left[stage], memory.right[stage]);
            filled = stage;
            stage = stage == kStages - 1 ? 0 : stage + 1;
        }
    }

    __device__ void work(const unsigned char* left, const unsigned char* right) {
        const int lane = threadIdx.x % kWarp;
        // Of left: 16 rows, first their first chunks. Of right: two times 8 rows with both chunks.
        const int a_at = KTile::chunk_offset(Own::first_row() + lane % 16, lane / 16);
        const int b_at =
            KTile::chunk_offset(Own::first_column() + lane / 16 * 8 + lane % 8, lane / 8 % 2);
        constexpr int kBlock = 16 * kKTileBytes;
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
