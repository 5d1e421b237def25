// Tiles of the engines on tensor cores, large and small, and the choice among them.
#pragma once

#include "engine.h"
#include "tensor_tile.cuh"
#include "warpgroup_tile.cuh"

namespace fgsbir::cuda {

// Of a large tile, which has 128 rows: twice the fragments of float32 leave registers for half.
constexpr int kLargeRows = 128;
constexpr int large_columns(ScalarType type) {
    return type == ScalarType::float32 ? 64 : 128;
}

template <typename Square_>
struct Kind {
    using Square = Square_;
};

// Calls f with the Kind of an engine's tile, large or 64 x 64. A warpgroup has 64 rows at least:
// its engine leaves small tiles to TensorTile.
template <typename S, typename F>
void with_tensor_tile(Engine engine, bool large, F&& f) {
    if (!large) return f(Kind<TensorTile<S, 64, 64>>());
    if constexpr (sizeof(S) == 2) {
        if (engine == Engine::warpgroups) return f(Kind<WarpgroupTile<S>>());
    }
    f(Kind<TensorTile<S, kLargeRows, std::is_same_v<S, float> ? 64 : 128>>());
}

}  // namespace fgsbir::cuda
