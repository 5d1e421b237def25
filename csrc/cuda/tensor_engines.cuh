// Tiles of the engines on tensor cores, large and small, and the choice among them.
#pragma once

#include "engine.h"
#include "tensor_tile.cuh"
#include "warpgroup_tile.cuh"

namespace fgsbir::cuda {

// Sides of the tiles: large ones read less, small ones fill a chip sooner. Float32's large tiles
// are half as wide, since its fragments, of two numbers each, take twice the registers.
constexpr int kSmallSide = 64, kLargeRows = 128;
template <typename S>
constexpr int kLargeColumns = std::is_same_v<S, float> ? 64 : 128;
constexpr int large_columns(ScalarType type) {
    return type == ScalarType::float32 ? kLargeColumns<float> : kLargeColumns<__half>;
}

// Whether there are enough large tiles of so many pairs to fill a chip.
constexpr int64_t kEnoughTiles = 256;
constexpr bool fill_a_chip(int64_t n, int64_t m, int64_t rows, int64_t columns) {
    return ceil_div(n, rows) * ceil_div(m, columns) >= kEnoughTiles;
}

// Words of attributes that a thread has registers for beside its sums, in mine_scan.cuh.
template <typename TileType>
constexpr int kScannedWords = 2;
template <typename S>
constexpr int kScannedWords<WarpgroupTile<S>> = 1;

// The engine or the last before it that can scan so many words, or leaves them to mine_weigh.cuh.
inline Engine engine_for_words(Engine engine, int64_t words) {
    return words > kScannedWords<WarpgroupTile<__half>> ? std::min(engine, Engine::tensor_cores)
                                                        : engine;
}

template <typename Type_>
struct TypeTag {
    using Type = Type_;
};

// Calls f with the TypeTag of an engine's tile, large or small. A warpgroup has 64 rows at least:
// its engine leaves small tiles to TensorTile.
template <typename S, typename F>
void with_tensor_tile(Engine engine, bool large, F&& f) {
    if (!large) return f(TypeTag<TensorTile<S, kSmallSide, kSmallSide>>());
    if constexpr (sizeof(S) == 2) {
        using Large = WarpgroupTile<S>;
        static_assert(Large::kRows == kLargeRows && Large::kColumns == kLargeColumns<S>);
        if (engine == Engine::warpgroups) return f(TypeTag<Large>());
    }
    f(TypeTag<TensorTile<S, kLargeRows, kLargeColumns<S>>>());
}

}  // namespace fgsbir::cuda
