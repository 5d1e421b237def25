// Engine of inner products for the warpgroups of Hopper (sm_90a): 16-bit embeddings, in tiles
// of 128 x 128, with the interface of TensorTile.
//
// wgmma reads its operands from shared memory by itself, so that no registers and no instructions
// pass for fragments, and reaches the full speed of the tensor cores, of which mma.sync gets a
// part. Two warpgroups, each with 64 rows of the tile: its sums are what one wgmma leaves, two rows
// and 32 columns a thread, and a row lies in four lanes of one warp. 64 sums a thread leave room
// for two blocks on a multiprocessor, of which one multiplies while the other looks at its sums.
//
// K-tiles (k_tile.cuh) of right pass through a ring of four stages, two at a time: two are read
// while the next two are on their way, those of the next tile too. One barrier for two k-tiles says
// of the whole block that their copies have come, and that the products before are done, whose
// stages the next copies take.
//
// At 16384 pairs a tile what a chip's second cache can deliver becomes the bound before its tensor
// cores. So k-tiles of left have a ring of eight, and rows that are no longer than that, 256
// numbers, stay in it: of each further tile only right is read.
#pragma once

#include "engine.h"
#include "wgmma.cuh"

namespace fgsbir::cuda {

template <typename S>
class WarpgroupTile : public Accumulators<float, FragmentLayout<128, 128, kTileThreads / kWarp>> {
    using Own = Accumulators<float, FragmentLayout<128, 128, kTileThreads / kWarp>>;
    using KTile = fgsbir::cuda::KTile<S>;
    static_assert(sizeof(S) == 2);
    static constexpr int kLeftStages = 8, kRightStages = 4, kAtOnce = 2;
    static constexpr int kStepBytes = 2 * kChunkBytes, kSteps = kKTileBytes / kStepBytes;
    static constexpr int kWarpgroupRows = 64;

  public:
    static constexpr int kRows = 128, kColumns = 128;
    static constexpr Engine kEngine = Engine::warpgroups;
    static constexpr int kScannedWords = 1;  // see mine_scan.cuh
    static constexpr bool kAvailable = kWarpgroups;
    static constexpr size_t kMostShared = kSharedOfHopper;
    using Own::values;

    struct Memory {
        alignas(kKTileAlignment) unsigned char left[kLeftStages][kRows * kKTileBytes];
        alignas(kKTileAlignment) unsigned char right[kRightStages][kColumns * kKTileBytes];
    };

    // Like TensorTile's, but every call must have the same rows of left, and nobody else may write
    // to the memory between calls. Where `next_column` is given, the first k-tiles of the tile at
    // it are on their way when this returns, so that whatever is done with the sums hides how long
    // they take. It then returns without a barrier: the block must pass one before the next call,
    // which must be for that tile.
    __device__ void accumulate(Memory& memory, const Rows<S>& left, int64_t first_row,
                               const Rows<S>& right, int64_t first_column, int64_t depth, Product,
                               int64_t next_column = kNoTile) {
        const int k_tiles = KTile::count(depth);
        if (k_tiles > 0 && KTile::in_whole_chunks(left) && KTile::in_whole_chunks(right)) {
            stream(memory, left, first_row, right, first_column, next_column, k_tiles);
            if (next_column != kNoTile) return;
        } else {
            Own::zero();
            const unsigned a = left_address(memory), b = descriptor_address(memory.right[0]);
            KTile::by_hand(memory.left[0], left, first_row, memory.right[0], right, first_column,
                           k_tiles, [&] {
                               fence_proxy_async();  // shows this thread's stores to wgmma
                               __syncthreads();      // publishes the k-tile
                               wgmma_fence();        // no earlier use of the sums is under way
                               multiply<true>(a, b);
                               wgmma_commit();
                               wgmma_wait<0>(values);  // the sums are there, the k-tile is read
                           });
        }
        __syncthreads();  // frees the memory
    }

  private:
    static constexpr unsigned kLeftUnits = kRows * kKTileBytes / kDescriptorUnit;
    static constexpr unsigned kRightUnits = kColumns * kKTileBytes / kDescriptorUnit;

    bool left_is_there_ = false;
    bool is_on_its_way_ = false;  // the beginning of right of the coming tile
    unsigned first_stage_ = 0;    // of right, for the coming tile

    __device__ void stream(Memory& memory, const Rows<S>& left, int64_t first_row,
                           const Rows<S>& right, int64_t first_column, int64_t next_column,
                           int k_tiles) {
        const int chunks = static_cast<int>(left.width / KTile::kChunk);
        // A k-tile that does not exist is zero.
        const auto fetch = [&](auto& from, auto* ring, int k_tile) {
            if (k_tile >= k_tiles) return;
#pragma unroll
            for (int i = 0; i < kAtOnce; ++i) {
                from.copy(ring[i], KTile::own_chunk_exists(k_tile + i, chunks));
            }
        };
        const bool fetches_left = !left_is_there_;
        left_is_there_ = k_tiles <= kLeftStages;
        typename KTile::template Stream<kRows> from_left(left, first_row);
        typename KTile::template Stream<kColumns> from_right(right, first_column,
                                                             is_on_its_way_ ? kAtOnce : 0);
        if (fetches_left) fetch(from_left, memory.left, 0);
        if (!is_on_its_way_) fetch(from_right, memory.right + first_stage_, 0);
        cp_async_commit();
        const unsigned a = left_address(memory), b = descriptor_address(memory.right[0]);
        const auto work = [&](int k_tile, auto add) {
            const unsigned stage = first_stage_ + k_tile, next = k_tile + kAtOnce;
            cp_async_wait<0>();   // this thread's copies have come,
            fence_proxy_async();  // and are shown to wgmma
            __syncthreads();  // these k-tiles have come, and nobody reads the last ones any more
            wgmma_fence();    // no earlier use of the sums is under way
            multiply<decltype(add)::value>(a + k_tile % kLeftStages * kLeftUnits,
                                           b + stage % kRightStages * kRightUnits);
#pragma unroll
            for (int i = 1; i < kAtOnce; ++i) {
                multiply<true>(a + (k_tile % kLeftStages + i) * kLeftUnits,
                               b + (stage % kRightStages + i) * kRightUnits);
            }
            wgmma_commit();
            if (fetches_left) fetch(from_left, memory.left + next % kLeftStages, next);
            fetch(from_right, memory.right + (stage + kAtOnce) % kRightStages, next);
            cp_async_commit();
            wgmma_wait<0>(values);  // the sums are there, these stages are read
        };
        work(0, std::false_type());  // main loop, of which the first pass needs no sums of zero
#pragma unroll 1
        for (int k_tile = kAtOnce; k_tile < k_tiles; k_tile += kAtOnce)
            work(k_tile, std::true_type());
        first_stage_ = (first_stage_ + ceil_to_pairs(k_tiles)) % kRightStages;
        is_on_its_way_ = next_column != kNoTile;  // the prologue of the next tile
        if (!is_on_its_way_) return;
        typename KTile::template Stream<kColumns> from_next(right, next_column);
        fetch(from_next, memory.right + first_stage_, 0);
        cp_async_commit();
    }

    __device__ static unsigned ceil_to_pairs(int k_tiles) {
        return (k_tiles + kAtOnce - 1) / kAtOnce * kAtOnce;
    }

    // Of this warpgroup's rows of the first k-tile.
    __device__ static unsigned left_address(const Memory& memory) {
        // From one lane, so that the compiler sees that it is the same in all.
        const int warpgroup = __shfl_sync(kFullMask, static_cast<int>(threadIdx.x) / kWarpgroup, 0);
        return descriptor_address(memory.left[0] + warpgroup * kWarpgroupRows * kKTileBytes);
    }

    // Starts the products of one k-tile at the addresses of descriptors. Without kAdd they take the
    // place of the sums.
    template <bool kAdd>
    __device__ void multiply(unsigned a, unsigned b) {
        wgmma_m64n128k16<S, kAdd>(values, k_tile_descriptor(a), k_tile_descriptor(b));
#pragma unroll
        for (int step = 1; step < kSteps; ++step) {
            constexpr int kUnits = kStepBytes / kDescriptorUnit;
            wgmma_m64n128k16<S, true>(values, k_tile_descriptor(a + step * kUnits),
                                      k_tile_descriptor(b + step * kUnits));
        }
    }
};

}  // namespace fgsbir::cuda
