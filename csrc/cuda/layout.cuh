// Layout of a tile: the pairs that each thread holds, which the epilogue of an operation reads.
#pragma once

#include "numeric.cuh"

namespace fgsbir::cuda {

constexpr int kTileThreads = 256;
constexpr int64_t kNoTile = -1;  // as a first column: there is no further tile

// Threads in a 16 x 16 grid, each with vectors of up to four neighbours down and across.
template <int kRows, int kColumns>
struct GridLayout {
    static constexpr int kGrid = 16;
    static constexpr int kOwnRows = kRows / kGrid, kOwnColumns = kColumns / kGrid;
    static constexpr int kRowVector = kOwnRows < 4 ? kOwnRows : 4;
    static constexpr int kColumnVector = kOwnColumns < 4 ? kOwnColumns : 4;
    static constexpr int kRowLanes = kGrid, kRowTeams = 1;

    __device__ static int row(int r) { return at<kRowVector>(r, threadIdx.x / kGrid); }
    __device__ static int column(int c) { return at<kColumnVector>(c, threadIdx.x % kGrid); }
    __device__ static int row_team() { return 0; }

  private:
    template <int kVector>
    __device__ static int at(int i, int thread) {
        return i / kVector * (kGrid * kVector) + thread * kVector + i % kVector;
    }
};

// Warps kWarpsDown_ down and the rest across, each with blocks of 16 x 8 pairs as tensor cores
// leave their sums: lanes 4 g to 4 g + 3 hold rows g and g + 8 of a block, each two neighbouring
// columns.
template <int kRows, int kColumns, int kWarpsDown_>
struct FragmentLayout {
    static constexpr int kWarpsDown = kWarpsDown_;
    static constexpr int kWarpsAcross = kTileThreads / kWarp / kWarpsDown;
    static constexpr int kWarpRows = kRows / kWarpsDown, kWarpColumns = kColumns / kWarpsAcross;
    static constexpr int kOwnRows = kWarpRows / 8, kOwnColumns = kWarpColumns / 4;
    static constexpr int kRowVector = 1, kColumnVector = 2;
    static constexpr int kRowLanes = 4, kRowTeams = kWarpsAcross;
    static_assert(kWarpsDown * kWarpsAcross * kWarp == kTileThreads);

    __device__ static int row(int r) { return row_of(threadIdx.x % kWarp, r); }
    __device__ static int column(int c) { return column_of(threadIdx.x % kWarp, c); }
    // The same of a lane of this warp.
    __device__ static int row_of(int lane, int r) { return first_row() + r * 8 + lane / 4; }
    __device__ static int column_of(int lane, int c) {
        return first_column() + c / 2 * 8 + lane % 4 * 2 + c % 2;
    }
    __device__ static int row_team() { return threadIdx.x / kWarp / kWarpsDown; }

    // Of the warp.
    __device__ static int first_row() { return threadIdx.x / kWarp % kWarpsDown * kWarpRows; }
    __device__ static int first_column() { return row_team() * kWarpColumns; }
};

// A thread's share of a tile. row(r) and column(c) say where in the tile values[r][c] lies. The
// pairs of a row are held by kRowTeams warps, and in each by kRowLanes neighbouring lanes.
template <typename T, typename Layout_>
struct Accumulators : Layout_ {
    using Layout = Layout_;
    using Layout::kOwnColumns;
    using Layout::kOwnRows;

    T values[kOwnRows][kOwnColumns];

    __device__ void zero() {
#pragma unroll
        for (int r = 0; r < kOwnRows; ++r) {
#pragma unroll
            for (int c = 0; c < kOwnColumns; ++c) values[r][c] = 0;
        }
    }

    // out[i] = values[r][group * kGroup + i], for an r and a group that are not known when
    // compiling: registers have no addresses.
    template <int kGroup>
    __device__ void copy_group(int r, int group, T (&out)[kGroup]) const {
        static_assert(kOwnColumns % kGroup == 0);
#pragma unroll
        for (int own_r = 0; own_r < kOwnRows; ++own_r) {
#pragma unroll
            for (int c = 0; c < kOwnColumns; ++c) {
                const bool wanted = own_r == r && c / kGroup == group;
                if ((own_r == 0 && c < kGroup) || wanted) out[c % kGroup] = values[own_r][c];
            }
        }
    }
};

}  // namespace fgsbir::cuda
