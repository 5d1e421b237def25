// Choice of the engine of inner products, see engine.h.

#include <cstdlib>
#include <cstring>

#include "engine.h"
#include "wgmma.cuh"

namespace fgsbir::cuda {
namespace {

// Compiled for the same chips as every other kernel, and never launched. How many threads a block
// of it may have tells sm_90a from sm_90: nothing else does that the runtime says of a kernel.
constexpr int kProbeThreads = kWarpgroups ? kWarpgroup : kWarp;
__global__ void __launch_bounds__(kProbeThreads) engine_probe() {}

Engine allowed_engine() {
    static const Engine allowed = [] {
        const char* value = std::getenv("FGSBIR_TENSOR_CORES");
        const auto is = [&](const char* word) {
            return value != nullptr && std::strcmp(value, word) == 0;
        };
        return is("0") ? Engine::cuda_cores : is("mma") ? Engine::tensor_cores : Engine::warpgroups;
    }();
    return allowed;
}

// The last that the code on the current device was compiled for, which may be for an older chip.
Engine compiled_engine() {
    static DeviceSet having[3];
    const int device = current_device();
    for (const Engine engine : {Engine::cuda_cores, Engine::tensor_cores, Engine::warpgroups}) {
        if (having[static_cast<int>(engine)].has(device)) return engine;
    }
    cudaFuncAttributes attributes = {};
    FGSBIR_CHECK_CUDA(cudaFuncGetAttributes(&attributes, engine_probe));
    const Engine compiled = attributes.maxThreadsPerBlock > kWarp ? Engine::warpgroups
                            : attributes.ptxVersion >= 80         ? Engine::tensor_cores
                                                                  : Engine::cuda_cores;
    having[static_cast<int>(compiled)].add(device);
    return compiled;
}

}  // namespace

Engine engine_for(ScalarType type) {
    if (type == ScalarType::float64) return Engine::cuda_cores;
    const Engine of_type = type == ScalarType::float32 ? Engine::tensor_cores : Engine::warpgroups;
    return std::min({of_type, allowed_engine(), compiled_engine()});
}

int multiprocessors() {
    int count = 0;
    FGSBIR_CHECK_CUDA(
        cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, current_device()));
    return count;
}

}  // namespace fgsbir::cuda
