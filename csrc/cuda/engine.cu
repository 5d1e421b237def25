// The choice of an engine, see engine.h.

#include <cstdlib>
#include <cstring>

#include "engine.h"

namespace fgsbir::cuda {
namespace {

// Compiled for the same chips as every other kernel; never launched.
__global__ void engine_probe() {}

bool switched_off() {
    static const bool off = [] {
        const char* value = std::getenv("FGSBIR_TENSOR_CORES");
        return value != nullptr && std::strcmp(value, "0") == 0;
    }();
    return off;
}

// What the code on the current device was compiled for, which may be an older chip than the device.
bool compiled_for_tensor_cores() {
    static DeviceSet with, without;
    const int device = current_device();
    if (with.has(device)) return true;
    if (without.has(device)) return false;
    cudaFuncAttributes attributes = {};
    FGSBIR_CHECK_CUDA(cudaFuncGetAttributes(&attributes, engine_probe));
    const bool compiled = attributes.ptxVersion >= 80;
    (compiled ? with : without).add(device);
    return compiled;
}

}  // namespace

Engine engine_for(ScalarType type) {
    if (type == ScalarType::float64 || switched_off()) return Engine::cuda_cores;
    return compiled_for_tensor_cores() ? Engine::tensor_cores : Engine::cuda_cores;
}

}  // namespace fgsbir::cuda
