// Which engine computes inner products of all pairs: Tile (tile.cuh) on CUDA cores, or TensorTile
// (tensor_tile.cuh) on tensor cores.
#pragma once

#include "launch.h"

namespace fgsbir::cuda {

enum class Engine { cuda_cores, tensor_cores };

// The engine for embeddings of a type on the current device: tensor cores, except for float64,
// where the code that the device runs was compiled for a chip before sm_80, and where the
// environment says FGSBIR_TENSOR_CORES=0. Asks each device once and never waits for it.
Engine engine_for(ScalarType type);

}  // namespace fgsbir::cuda
