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

template <typename Type_>
struct TypeTag {
    using Type = Type_;
};

// The tiles of engines that have large ones only.
template <typename S, template <typename> class... Tiles>
struct LargeTiles {
    static_assert(((Tiles<S>::kRows == kLargeRows && Tiles<S>::kColumns == kLargeColumns<S>) &&
                   ...));

    // Calls f with the TypeTag of an engine's tile, and returns whether it is here.
    template <typename F>
    static bool with(Engine engine, F&& f) {
        return ((engine == Tiles<S>::kEngine && (f(TypeTag<Tiles<S>>()), true)) || ...);
    }
};
template <typename S>
using HopperTiles = LargeTiles<S, WarpgroupTile>;

// The last engine up to the given one whose tile can scan so many words of attributes. Those before
// Hopper's scan all that are scanned at all.
inline Engine engine_for_words(Engine engine, int64_t words) {
    for (;; engine = static_cast<Engine>(static_cast<int>(engine) - 1)) {
        bool scans = true;
        HopperTiles<__half>::with(
            engine, [&](auto tag) { scans = words <= decltype(tag)::Type::kScannedWords; });
        if (scans) return engine;
    }
}

// Calls f with the TypeTag of an engine's tile, large or small. Small ones are left to TensorTile:
// a warpgroup has 64 rows at least.
template <typename S, typename F>
void with_tensor_tile(Engine engine, bool large, F&& f) {
    if (!large) return f(TypeTag<TensorTile<S, kSmallSide, kSmallSide>>());
    if constexpr (sizeof(S) == 2) {
        if (HopperTiles<S>::with(engine, f)) return;
    }
    f(TypeTag<TensorTile<S, kLargeRows, kLargeColumns<S>>>());
}

}  // namespace fgsbir::cuda
