// Choice of the engine that computes inner products of all pairs: Tile (tile.cuh) on CUDA cores, or
// one of the tiles on tensor cores (tensor_engines.cuh).
#pragma once

#include "launch.h"

namespace fgsbir::cuda {

enum class Engine { cuda_cores, tensor_cores, warpgroups };

// What code has to be compiled for; each chip has what those before it have.
enum class Chip { any, sm_80, sm_90a };

struct EngineTraits {
    Engine engine;
    const char* name;
    Chip chip;
    bool only_16_bits;         // of float16 and bfloat16 alone
    const char* switch_value;  // of FGSBIR_TENSOR_CORES, that allows no engine after it
};

// In the order of the enumeration: the later, the faster.
constexpr EngineTraits kEngines[] = {
    {Engine::cuda_cores, "cuda_cores", Chip::any, false, "0"},
    {Engine::tensor_cores, "tensor_cores", Chip::sm_80, false, "mma"},
    {Engine::warpgroups, "warpgroups", Chip::sm_90a, true, "wgmma"},
};

// The engine for embeddings of a type on the current device: the last of those that have the type
// (float64 is for CUDA cores), that the code that the device runs was compiled for, and that the
// environment allows. Asks each device once and never waits for it.
Engine engine_for(ScalarType type);

// The number of multiprocessors of the current device.
int multiprocessors();

}  // namespace fgsbir::cuda
