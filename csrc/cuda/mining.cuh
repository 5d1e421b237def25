// Mining as the first stage of other operations: its launches, its scratch memory, its result.
#pragma once

#include "attributes.cuh"
#include "key.cuh"

namespace fgsbir::cuda {

// Into how many splits the photos are cut on the current device.
int64_t mining_splits(const Mining& mining);

// The parts of a workspace that mining uses.
template <typename T>
struct MiningScratch {
    T* sketch_norms;                        // [N]
    T* photo_norms;                         // [M]
    Key<T>* positive;                       // [splits, N] the winner of each split
    Key<T>* negative;                       // [splits, N]
    unsigned long long* closest = nullptr;  // [N] bits of the smallest h of a negative
    AttributeCodes codes = {};              // of sketches and photos
    uint2* sketch_codes = nullptr;
    uint2* photo_codes = nullptr;
    double* shares = nullptr;

    MiningScratch(Workspace& workspace, const Mining& mining, int64_t splits) {
        sketch_norms = workspace.take<T>(mining.n);
        photo_norms = workspace.take<T>(mining.m);
        positive = workspace.take<Key<T>>(splits * mining.n);
        negative = workspace.take<Key<T>>(splits * mining.n);
        if (mining.guidance == 0 || mining.attributes.a.data == nullptr) return;
        closest = workspace.take<unsigned long long>(mining.n);
        const AttributeScratch attributes(workspace, mining.attributes, mining.n, mining.m);
        sketch_codes = attributes.a;
        photo_codes = attributes.b;
        shares = attributes.shares;
        codes = {sketch_codes, photo_codes, shares, mining.n, mining.m, mining.attributes.k};
    }

    bool guided() const { return closest != nullptr; }
};

// The winners, and of how many splits.
template <typename T>
struct Mined : MiningScratch<T> {
    int64_t splits;
};

// Launches everything up to the winners of each split: 2 launches, 3 for infinite guidance. Takes
// its scratch memory from the workspace first.
template <typename S>
Mined<Compute<S>> mine(const Mining& mining, Workspace& workspace, cudaStream_t stream);

// The chosen photos of an anchor, -1 both unless it has both.
struct Triplet {
    int64_t positive, negative;
    __device__ bool valid() const { return positive >= 0; }
};

// Read by a whole warp, returned to every lane.
template <typename T>
__device__ inline Triplet chosen_triplet(const Key<T>* positive /* [splits, n] */,
                                         const Key<T>* negative /* [splits, n] */, int64_t splits,
                                         int64_t n, int64_t i) {
    Key<T> best_positive = Key<T>::none(), best_negative = Key<T>::none();
    for (int64_t split = threadIdx.x % kWarp; split < splits; split += kWarp) {
        best_positive = smaller(best_positive, positive[split * n + i]);
        best_negative = smaller(best_negative, negative[split * n + i]);
    }
    const int64_t p = smallest_of(best_positive, kWarp).index_or_none();
    const int64_t q = smallest_of(best_negative, kWarp).index_or_none();
    return p >= 0 && q >= 0 ? Triplet{p, q} : Triplet{-1, -1};
}

}  // namespace fgsbir::cuda
