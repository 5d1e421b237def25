// Counting sort of the 2N references by photo, in one stage: which anchors chose a photo.
//
// Reference r < N is anchor r's positive, reference r >= N the negative of anchor r - N. They are
// sorted by photo and, within a photo, ascending, so that whoever sums over the references of a
// photo does it in one fixed order. Each block owns kPhotos photos, counts what lies before them
// and within them, and places its own references: no block waits for another, and nothing needs to
// be cleared first. The counts are integers, so that the order in which they are taken is of no
// matter. Memory traffic: every block reads all 2N references twice, mostly from the second cache:
// 4 N * 8 bytes * M / kPhotos in all.
#pragma once

#include "numeric.cuh"

namespace fgsbir::cuda {

struct References {
    const int64_t* positive;  // [N] photos, -1 where not valid
    const int64_t* negative;  // [N]
    int64_t n, m;
    int64_t* begin;   // [M + 1] result: the references of photo j are
    int64_t* sorted;  // [2N]            sorted[begin[j]:begin[j + 1]]

    __device__ int64_t photo(int64_t r) const { return r < n ? positive[r] : negative[r - n]; }
};

constexpr int kSortWarps = 8;
constexpr int kPhotos = 512;

struct SortMemory {
    int64_t before[kSortWarps];      // references to photos of earlier blocks, by warp
    int place[kSortWarps][kPhotos];  // counts, then next places, of each warp's references
    int64_t totals[kSortWarps];
};

// The references a warp looks at: one of kSortWarps stretches, in steps of a whole warp. Several
// steps are loaded at once, since one load after the other takes longer than all else.
template <typename F>
__device__ inline void for_own_references(const References& references, F f) {
    constexpr int kSteps = 6;
    const int64_t count = 2 * references.n, warp = threadIdx.x / kWarp;
    const int64_t end = (warp + 1) * count / kSortWarps;
    for (int64_t first = warp * count / kSortWarps; first < end; first += kSteps * kWarp) {
        const int64_t own = first + threadIdx.x % kWarp;
        constexpr unsigned kNone = ~0u;  // mining takes fewer photos
        unsigned photos[kSteps];
#pragma unroll
        for (int step = 0; step < kSteps; ++step) {
            const int64_t r = own + step * kWarp;
            photos[step] = r < end ? static_cast<unsigned>(references.photo(r)) : kNone;
        }
#pragma unroll
        for (int step = 0; step < kSteps; ++step) {
            if (first + step * kWarp >= end) continue;
            f(own + step * kWarp, photos[step] == kNone ? -1 : static_cast<int64_t>(photos[step]));
        }
    }
}

// Called by a block of kSortWarps warps for each block of kPhotos photos.
__device__ inline void sort_references(const References& references, int64_t photo_block,
                                       SortMemory& memory) {
    constexpr int kThreads = kSortWarps * kWarp;
    const int64_t first_photo = photo_block * kPhotos;
    const int photos = static_cast<int>(min(references.m - first_photo, int64_t(kPhotos)));
    const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
    const auto own = [&](int64_t photo) {
        return photo >= first_photo && photo < first_photo + photos;
    };

    // How many references there are, before this block and to each of its photos.
    for (int p = lane; p < kPhotos; p += kWarp) memory.place[warp][p] = 0;
    __syncwarp();  // publishes the zeros, to which the whole warp adds
    int64_t before = 0;
    for_own_references(references, [&](int64_t, int64_t photo) {
        before += photo >= 0 && photo < first_photo;
        if (own(photo)) atomicAdd(&memory.place[warp][photo - first_photo], 1);
    });
    before = warp_sum(before);
    if (lane == 0) memory.before[warp] = before;
    __syncthreads();  // publishes every warp's counts to all

    // Where those of each photo begin; each thread takes kPhotos / kThreads neighbouring photos.
    constexpr int kOwn = kPhotos / kThreads;
    int64_t own_total = 0;
    for (int p = 0; p < kOwn; ++p) {
        for (int w = 0; w < kSortWarps; ++w) own_total += memory.place[w][threadIdx.x * kOwn + p];
    }
    int64_t up_to_own = own_total;  // inclusive sum over the lanes of the warp
    for (int offset = 1; offset < kWarp; offset *= 2) {
        const int64_t other = __shfl_up_sync(kFullMask, up_to_own, offset);
        if (lane >= offset) up_to_own += other;
    }
    if (lane == kWarp - 1) memory.totals[warp] = up_to_own;
    __syncthreads();  // publishes the totals
    int64_t base = 0;
    for (int w = 0; w < kSortWarps; ++w) base += memory.before[w];
    int64_t next = base + up_to_own - own_total;
    for (int w = 0; w < warp; ++w) next += memory.totals[w];
    for (int p = 0; p < kOwn; ++p) {
        const int photo = threadIdx.x * kOwn + p;
        if (photo < photos) references.begin[first_photo + photo] = next;
        for (int w = 0; w < kSortWarps; ++w) {
            const int count = memory.place[w][photo];
            memory.place[w][photo] = static_cast<int>(next - base);
            next += count;
        }
    }
    const bool last_block = first_photo + photos == references.m;
    if (last_block && threadIdx.x == kThreads - 1) references.begin[references.m] = next;
    __syncthreads();  // publishes the places

    // Each warp places its own, in order; lanes with the same photo take their turns by number.
    for_own_references(references, [&](int64_t r, int64_t photo) {
        const bool wanted = own(photo);
        const unsigned peers = __match_any_sync(kFullMask, wanted ? photo : int64_t(-1));
        if (wanted) {
            const int local = static_cast<int>(photo - first_photo);
            const int turn = __popc(peers & ((1u << lane) - 1));
            const int place = memory.place[warp][local];
            references.sorted[base + place + turn] = r;
        }
        __syncwarp();  // all peers have read the place, which the last of them moves on
        if (wanted && (peers >> lane) == 1) {
            memory.place[warp][photo - first_photo] += __popc(peers);
        }
        __syncwarp();  // publishes the place to the next references
    });
}

}  // namespace fgsbir::cuda
