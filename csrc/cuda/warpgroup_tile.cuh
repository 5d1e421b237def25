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
    using Own = Accumulators<float, FragmentLayout<128, 128, kTileThreads / kWarp>>;
    using Slab = fgsbir::cuda::Slab<S>;
    static_assert(sizeof(S) == 2);
    static constexpr int kLeftStages = 8, kRightStages = 4, kAhead = kRightStages - 2;
    static constexpr int kStepBytes = 2 * kChunkBytes, kSteps = kSlabBytes / kStepBytes;
    static constexpr int kWarpgroupRows = 64;

  public:
    static constexpr int kRows = 128, kColumns = 128;
    static constexpr bool kAvailable = kWarpgroups;
    static constexpr size_t kMostShared = kSharedOfHopper;
    using Own::values;

    struct Memory {
        alignas(kSlabAlignment) unsigned char left[kLeftStages][kRows * kSlabBytes];
        alignas(kSlabAlignment) unsigned char right[kRightStages][kColumns * kSlabBytes];
    };

    // The next product is stored in place of being added.
    __device__ void zero() { Own::zero(); }

    // As TensorTile has it, but that a tile is for the same rows of left each time, and that nobody
    // else may write to the memory in between. Where `next_column` is given, the first slabs of the
    // tile at it are on their way when this returns, so that whatever is done with the sums hides
    // how long they take; the next call must be for that tile.
    __device__ void accumulate(Memory& memory, const Rows<S>& left, int64_t first_row,
                               const Rows<S>& right, int64_t first_column, int64_t depth, Product,
                               int64_t next_column = kNoTile) {
        const int slabs = Slab::count(depth);
        if (slabs > 0 && Slab::in_whole_chunks(left) && Slab::in_whole_chunks(right)) {
            stream(memory, left, first_row, right, first_column, next_column, slabs);
            if (next_column != kNoTile) return;
        } else {
            const uint64_t a = left_descriptor(memory), b = slab_descriptor(memory.right[0]);
            Slab::by_hand(memory.left[0], left, first_row, memory.right[0], right, first_column,
                          slabs, [&] {
                              fence_proxy_async();
                              __syncthreads();
                              multiply(a, b);
                              wgmma_wait<0>(values);
                          });
            if (!adds_) Own::zero();
        }
        __syncthreads();
    }

  private:
    static constexpr unsigned kLeftUnits = kRows * kSlabBytes / kDescriptorUnit;
    static constexpr unsigned kRightUnits = kColumns * kSlabBytes / kDescriptorUnit;

    bool adds_ = true;
    bool left_is_there_ = false;
    int asked_ = 0;             // slabs of right of the coming tile that are on their way
    unsigned first_stage_ = 0;  // of right, for the coming tile

    __device__ void stream(Memory& memory, const Rows<S>& left, int64_t first_row,
                           const Rows<S>& right, int64_t first_column, int64_t next_column,
                           int slabs) {
        const int chunks = static_cast<int>(left.width / Slab::kChunk);
        const auto fetch_right = [&](auto& from_right, int slab, unsigned stage) {
            from_right.copy(memory.right[stage % kRightStages],
                            Slab::own_chunk_exists(slab, chunks));
        };
        const bool fetches_left = !left_is_there_;
        left_is_there_ = slabs <= kLeftStages;
        typename Slab::template Stream<kRows> from_left(left, first_row);
        typename Slab::template Stream<kColumns> from_right(right, first_column, asked_);
        const auto fetch = [&](int slab, bool asked) {
            if (slab < slabs) {
                if (fetches_left) {
                    from_left.copy(memory.left[slab % kLeftStages],
                                   Slab::own_chunk_exists(slab, chunks));
                }
                if (!asked) fetch_right(from_right, slab, first_stage_ + slab);
            }
            cp_async_commit();
        };
#pragma unroll
        for (int slab = 0; slab < kAhead; ++slab) fetch(slab, slab < asked_);
        const uint64_t a = left_descriptor(memory), b = slab_descriptor(memory.right[0]);
#pragma unroll 1
        for (int slab = 0; slab < slabs; ++slab) {
            cp_async_wait<kAhead - 1>();
            fence_proxy_async();
            __syncthreads();
            multiply(a + slab % kLeftStages * kLeftUnits,
                     b + (first_stage_ + slab) % kRightStages * kRightUnits);
            fetch(slab + kAhead, false);
            wgmma_wait<1>(values);
        }
        wgmma_wait<0>(values);
        // The stages of the next slabs are those of the fourth and the third last, which all
        // warpgroups have left.
        first_stage_ = (first_stage_ + slabs) % kRightStages;
        asked_ = 0;
        if (next_column == kNoTile) return;
        asked_ = min(kAhead, slabs);
        typename Slab::template Stream<kColumns> from_next(right, next_column);
        for (int slab = 0; slab < asked_; ++slab) fetch_right(from_next, slab, first_stage_ + slab);
    }

    // Of this warpgroup's rows of the first slab.
    __device__ static uint64_t left_descriptor(const Memory& memory) {
        // From one lane, so that the compiler sees that it is the same in all.
        const int warpgroup = __shfl_sync(kFullMask, static_cast<int>(threadIdx.x) / kWarpgroup, 0);
        return slab_descriptor(memory.left[0] + warpgroup * kWarpgroupRows * kSlabBytes);
    }

    // A group of products, of one slab.
    __device__ void multiply(uint64_t a, uint64_t b) {
        wgmma_fence();
#pragma unroll
        for (int step = 0; step < kSteps; ++step) {
            constexpr int kUnits = kStepBytes / kDescriptorUnit;
            wgmma_m64n128k16<S>(values, a + step * kUnits, b + step * kUnits, adds_ || step > 0);
        }
        wgmma_commit();
        adds_ = true;
    }
};

}  // namespace fgsbir::cuda
