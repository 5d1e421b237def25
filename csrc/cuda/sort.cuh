// Bitonic sort of keys in shared memory by a warp or a whole block.
#pragma once

#include "key.cuh"

namespace fgsbir::cuda {

// Threads that work together: all of a block, or a warp of it.
struct Team {
    int rank, size;

    __device__ static Team block(int threads) { return {static_cast<int>(threadIdx.x), threads}; }
    __device__ static Team warp() { return {static_cast<int>(threadIdx.x) % kWarp, kWarp}; }
    __device__ void sync() const {
        if (size == kWarp) {
            __syncwarp();
        } else {
            __syncthreads();
        }
    }
};

// Ascending; count is a power of two. The team must be in step before, and is after.
template <typename T>
__device__ inline void sort(Key<T>* keys, int count, const Team& team) {
    for (int span = 2; span <= count; span *= 2) {
        for (int stride = span / 2; stride > 0; stride /= 2) {
            for (int pair = team.rank; pair < count / 2; pair += team.size) {
                const int low = 2 * pair - (pair & (stride - 1)), high = low + stride;
                const bool ascending = (low & span) == 0;
                const Key<T> a = keys[low], b = keys[high];
                if (ascending ? b < a : a < b) {
                    keys[low] = b;
                    keys[high] = a;
                }
            }
            team.sync();  // publishes this pass to the next, which pairs keys otherwise
        }
    }
}

// The smallest power of two that is not below x.
__host__ __device__ constexpr int power_of_two(int x) {
    int power = 1;
    while (power < x) power *= 2;
    return power;
}

}  // namespace fgsbir::cuda
