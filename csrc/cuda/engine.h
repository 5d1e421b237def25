// Choice of the engine that computes inner products of all pairs: Tile (tile.cuh) on CUDA cores,
// TensorTile (tensor_tile.cuh) on tensor cores, or WarpgroupTile (warpgroup_tile.cuh) on Hopper's.
#pragma once

#include "launch.h"

namespace fgsbir::cuda {

// Each runs on fewer chips than the one before it.
enum class Engine { cuda_cores, tensor_cores, warpgroups };

// The engine for embeddings of a type on the current device: the last of those that the code that
// the device runs was compiled for, that the type has (CUDA cores have float64, warpgroups 16 bits
// alone), and that the environment allows, where FGSBIR_TENSOR_CORES=0 stands for CUDA cores and
// FGSBIR_TENSOR_CORES=mma for no more than the tensor cores of every chip. Asks each device once
// and never waits for it.
Engine engine_for(ScalarType type);

// The number of multiprocessors of the current device.
int multiprocessors();

}  // namespace fgsbir::cuda
