// Engine of inner products for the warpgroups of Hopper (sm_90a): 16-bit embeddings, in tiles
// of 128 x 128, with the interface of TensorTile.
//
// wgmma reads its operands from shared memory by itself, so that no registers and no instructions
// pass for fragments, and reaches the full speed of the tensor cores, of which mma.sync gets a
// part. Two warpgroups, each with 64 rows of the tile: its sums are what one wgmma leaves, two rows
// and 32 columns a thread, and a row lies in four lanes of one warp. 64 sums a thread leave room
// for two blocks on a multiprocessor, of which one multiplies while the other looks at its sums.
//
// Slabs (slab.cuh) of right pass through a ring of four stages: two are on their way while one is
// read and the one before it may be. That one is done with when the next has been asked for and all
// but the last group been waited for; the barrier that follows says so to the other warpgroup.
//
// At 16384 pairs a tile what a chip's second cache can deliver becomes the bound before its tensor
// cores. So slabs of left have a ring of eight, and rows that are no longer than that, 256 numbers,
// stay in it: of each further tile only right is read.
#pragma once

#include "wgmma.cuh"

namespace fgsbir::cuda {

template <typename S>
class WarpgroupTile : public Accumulators<float, FragmentLayout<128, 128, kTileThreads / kWarp>> {
    using Slab = fgsbir::cuda::Slab<S>;
    static_assert(sizeof(S) == 2);
    static constexpr int kLeftStages = 8, kRightStages = 4, kAhead = kRightStages - 2;
    static constexpr int kStepBytes = 2 * kChunkBytes, kSteps = kSlabBytes / kStepBytes;
    static constexpr int kWarpgroupRows = 64;

  public:
    static constexpr int kRows = 128, kColumns = 128;
    static constexpr bool kAvailable = kWarpgroups;
    static constexpr size_t kMostShared = kSharedOfHopper;

    struct Memory {
        alignas(kSlabAlignment) unsigned char left[kLeftStages][kRows * kSlabBytes];
        alignas(kSlabAlignment) unsigned char right[kRightStages][kColumns * kSlabBytes];
    };

    // As TensorTile has it, but that a tile is for the same rows of left each time, and that nobody
    // else may write to the memory in between.
    __device__ void accumulate(Memory& memory, const Rows<S>& left, int64_t first_row,
                               const Rows<S>& right, int64_t first_column, int64_t depth, Product) {
        const int slabs = Slab::count(depth);
        if (slabs > 0 && Slab::in_whole_chunks(left) && Slab::in_whole_chunks(right)) {
            stream(memory, left, first_row, right, first_column, slabs);
        } else {
            Slab::by_hand(memory.left[0], left, first_row, memory.right[0], right, first_column,
                          slabs, [&] {
                              fence_proxy_async();
                              __syncthreads();
                              multiply(memory.left[0], memory.right[0]);
                              wgmma_wait<0>(values);
                          });
        }
        __syncthreads();
    }

  private:
    bool left_is_there_ = false;

    __device__ void stream(Memory& memory, const Rows<S>& left, int64_t first_row,
                           const Rows<S>& right, int64_t first_column, int slabs) {
        typename Slab::template Stream<kRows> from_left(left, first_row);
        typename Slab::template Stream<kColumns> from_right(right, first_column);
        const int chunks = static_cast<int>(left.width / Slab::kChunk);
        const bool fetch_left = !left_is_there_;
        left_is_there_ = slabs <= kLeftStages;
        const auto fetch = [&](int slab) {
            if (slab < slabs) {
                const bool exists = Slab::own_chunk_exists(slab, chunks);
                if (fetch_left) from_left.copy(memory.left[slab % kLeftStages], exists);
                from_right.copy(memory.right[slab % kRightStages], exists);
            }
            cp_async_commit();
        };
#pragma unroll
        for (int slab = 0; slab < kAhead; ++slab) fetch(slab);
#pragma unroll 1
        for (int slab = 0; slab < slabs; ++slab) {
            cp_async_wait<kAhead - 1>();
            fence_proxy_async();
            __syncthreads();
            multiply(memory.left[slab % kLeftStages], memory.right[slab % kRightStages]);
            fetch(slab + kAhead);
            wgmma_wait<1>(values);
        }
        wgmma_wait<0>(values);
    }

    // A group of products, of this warpgroup's rows of one slab.
    __device__ void multiply(const unsigned char* left, const unsigned char* right) {
        // From one lane, so that the compiler sees that it is the same in all.
        const int warpgroup = __shfl_sync(kFullMask, static_cast<int>(threadIdx.x) / kWarpgroup, 0);
        const uint64_t a = slab_descriptor(left + warpgroup * kWarpgroupRows * kSlabBytes);
        const uint64_t b = slab_descriptor(right);
        wgmma_fence();
#pragma unroll
        for (int step = 0; step < kSteps; ++step) {
            constexpr int kUnits = kStepBytes / kDescriptorUnit;
            wgmma_m64n128k16<S>(values, a + step * kUnits, b + step * kUnits);
        }
        wgmma_commit();
    }
};

}  // namespace fgsbir::cuda
