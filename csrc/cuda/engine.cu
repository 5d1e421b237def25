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

// The last engine that the environment allows.
Engine allowed_engine() {
    static const Engine allowed = [] {
        const char* value = std::getenv("FGSBIR_TENSOR_CORES");
        Engine last = Engine::cuda_cores;
        for (const EngineTraits& traits : kEngines) {
            last = traits.engine;
            if (value != nullptr && std::strcmp(value, traits.switch_value) == 0) break;
        }
        return last;
    }();
    return allowed;
}

// What the code on the current device was compiled for, which may be an older chip.
Chip compiled_chip() {
    static DeviceSet known[static_cast<int>(Chip::sm_90a) + 1];
    const int device = current_device();
    for (const Chip chip : {Chip::any, Chip::sm_80, Chip::sm_90a}) {
        if (known[static_cast<int>(chip)].has(device)) return chip;
    }
    cudaFuncAttributes attributes = {};
    FGSBIR_CHECK_CUDA(cudaFuncGetAttributes(&attributes, engine_probe));
    const Chip compiled = attributes.maxThreadsPerBlock > kWarp ? Chip::sm_90a
                          : attributes.ptxVersion >= 80         ? Chip::sm_80
                                                                : Chip::any;
    known[static_cast<int>(compiled)].add(device);
    return compiled;
}

}  // namespace

Engine engine_for(ScalarType type) {
    Engine best = Engine::cuda_cores;
    if (type == ScalarType::float64) return best;
    const Engine allowed = allowed_engine();
    const Chip chip = compiled_chip();
    for (const EngineTraits& traits : kEngines) {
        const bool has_type = type != ScalarType::float32 || !traits.only_16_bits;
        if (has_type && traits.chip <= chip && traits.engine <= allowed) best = traits.engine;
    }
    return best;
}

int multiprocessors() {
    int count = 0;
    FGSBIR_CHECK_CUDA(
        cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, current_device()));
    return count;
}

}  // namespace fgsbir::cuda
