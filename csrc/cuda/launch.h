// Host side of every operation: launches and their errors, scratch memory, choice of types.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "../ops_cuda.h"

namespace fgsbir::cuda {

// Throws with file, line, expression and CUDA's own words where a call failed.
#define FGSBIR_CHECK_CUDA(...) \
    ::fgsbir::cuda::check((__VA_ARGS__), #__VA_ARGS__, __FILE__, __LINE__)

inline void check(cudaError_t error, const char* expression, const char* file, int line) {
    if (error == cudaSuccess) return;
    cudaGetLastError();  // it is reported here; the next call of anyone must not find it again
    std::string place = file;
    place.erase(0, std::min(place.rfind("csrc"), place.size()));
    throw std::runtime_error(place + ":" + std::to_string(line) + ": " + expression + ": " +
                             cudaGetErrorName(error) + ": " + cudaGetErrorString(error));
}

inline int current_device() {
    int device = 0;
    FGSBIR_CHECK_CUDA(cudaGetDevice(&device));
    return device;
}

// Devices that something is known of; of any past the 64th nothing ever is.
class DeviceSet {
  public:
    bool has(int device) const { return (devices_.load() & bit(device)) != 0; }
    void add(int device) { devices_.fetch_or(bit(device)); }

  private:
    static uint64_t bit(int device) { return device < 64 ? uint64_t(1) << device : 0; }
    std::atomic<uint64_t> devices_{0};
};

// What a block can have: of every chip, of those from sm_80 on, and of sm_90.
constexpr size_t kSharedWithoutAsking = 48 * 1024;
constexpr size_t kSharedOfTensorCores = 99 * 1024;
constexpr size_t kSharedOfHopper = 227 * 1024;

// Lets a kernel have more shared memory on the current device than every kernel has.
// `allowed` is the kernel's own: where it was allowed before.
template <typename... Parameters>
void allow_shared(void (*kernel)(Parameters...), size_t bytes, DeviceSet& allowed) {
    if (bytes <= kSharedWithoutAsking) return;
    const int device = current_device();
    if (allowed.has(device)) return;
    FGSBIR_CHECK_CUDA(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                           static_cast<int>(bytes)));
    allowed.add(device);
}

// An empty grid is an empty batch: nothing to do. `shared` is bytes of dynamic shared memory.
template <typename... Parameters, typename... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), dim3 grid, unsigned threads, size_t shared,
                   cudaStream_t stream, Arguments&&... arguments) {
    if (grid.x == 0 || grid.y == 0 || grid.z == 0) return cudaSuccess;
    cudaLaunchConfig_t config = {};
    config.gridDim = grid;
    config.blockDim = dim3(threads);
    config.dynamicSmemBytes = shared;
    config.stream = stream;
    const cudaError_t error =
        cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...);
    return error == cudaSuccess ? cudaGetLastError() : error;
}

constexpr int64_t ceil_div(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

// The most blocks a grid can have along x; along y and z it is 65535.
constexpr int64_t kMaxGrid = 0x7fffffff;

inline unsigned grid_of(int64_t blocks) {
    if (blocks > kMaxGrid) {
        throw std::runtime_error("batch too large: " + std::to_string(blocks) +
                                 " blocks, a grid has at most " + std::to_string(kMaxGrid));
    }
    return static_cast<unsigned>(blocks);
}

// Hands out pieces of the workspace. Without memory it only counts: size() is then how much is
// needed, so that one function lays a workspace out and measures it.
class Workspace {
  public:
    explicit Workspace(void* memory) : address_(reinterpret_cast<uintptr_t>(memory)) {}

    template <typename T>
    T* take(int64_t count) {
        const uintptr_t piece = address_ + used_;
        used_ += ceil_div(count * static_cast<int64_t>(sizeof(T)), kAlignment) * kAlignment;
        return reinterpret_cast<T*>(piece);
    }

    int64_t size() const { return used_; }

  private:
    static constexpr int64_t kAlignment = 256;
    uintptr_t address_;
    int64_t used_ = 0;
};

// Calls f(S()) with the C++ type of embeddings.
template <typename F>
void with_type(ScalarType type, F&& f) {
    switch (type) {
        case ScalarType::float32:
            return f(float());
        case ScalarType::float64:
            return f(double());
        case ScalarType::float16:
            return f(__half());
        case ScalarType::bfloat16:
            return f(__nv_bfloat16());
        default:
            throw std::invalid_argument("embeddings must be of a floating type");
    }
}

// Bytes of scratch memory for embeddings of a type: take(S(), workspace) takes all that is needed.
template <typename F>
int64_t workspace_size(ScalarType type, F&& take) {
    Workspace workspace(nullptr);
    with_type(type, [&](auto s) { take(s, workspace); });
    return workspace.size();
}

}  // namespace fgsbir::cuda
