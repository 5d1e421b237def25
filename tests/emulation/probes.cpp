// Kernels of the tests alone: single instructions on given registers, and the products that an
// engine leaves in the registers of a block.

#include <pybind11/pybind11.h>

#include "../../csrc/cuda/tensor_engines.cuh"

namespace py = pybind11;

namespace fgsbir::cuda {
namespace {

using Address = uintptr_t;

// --- Instructions --------------------------------------------------------------------------------

template <typename S>
__global__ void multiply(const unsigned* a /* [32, 4] */, const unsigned* b /* [32, 2] */,
                         float* c /* [32, 4] */, unsigned lanes) {
    if (threadIdx.x >= lanes) return;
    a += threadIdx.x * 4, b += threadIdx.x * 2, c += threadIdx.x * 4;
    const unsigned own[4] = {a[0], a[1], a[2], a[3]};
    if constexpr (std::is_same_v<S, float>) {
        mma_m16n8k8_tf32(c[0], c[1], c[2], c[3], own, b[0], b[1]);
    } else {
        mma_m16n8k16<S>(c[0], c[1], c[2], c[3], own, b[0], b[1]);
    }
}

struct Chunks {
    uint4 at[kWarp];
};

__global__ void load(const uint4* rows /* [32] */, uint4* out /* [32] */) {
    auto& memory = shared_memory<Chunks>();
    memory.at[threadIdx.x] = rows[threadIdx.x];
    __syncwarp();
    unsigned fragments[4];
    ldmatrix_x4(fragments, &memory.at[threadIdx.x]);
    out[threadIdx.x] = {fragments[0], fragments[1], fragments[2], fragments[3]};
}

// Every lane copies a chunk and reads that of its neighbour: of those that exist, and in order.
__global__ void copy(const uint4* from /* [32] */, uint4* to /* [32] */, unsigned existing,
                     bool wait_first) {
    auto& memory = shared_memory<Chunks>();
    cp_async_16(&memory.at[threadIdx.x], from + threadIdx.x, threadIdx.x < existing);
    cp_async_commit();
    if (wait_first) cp_async_wait<0>();
    __syncthreads();
    to[threadIdx.x] = memory.at[threadIdx.x ^ 1];
    __syncthreads();
    cp_async_wait<0>();
}

// What stands before and after the product of a warpgroup.
enum Steps : unsigned {
    proxy_fence = 1,
    register_fence = 2,
    wait = 4,
    second_product = 8,  // on the same sums, without a fence of its own
    touch_sums = 16,     // while the product is under way
    touch_operands = 32,
};

constexpr int kImageBytes = 32 * 1024;
struct Image {
    alignas(kSharedAlignment) unsigned char bytes[kImageBytes];
};

// The descriptors' addresses are taken as offsets in the image of shared memory.
template <typename S>
__global__ void multiply_by_warpgroup(const unsigned char* image /* [kImageBytes] */, uint64_t a,
                                      uint64_t b, float* sums /* [128, 2, 32] */, unsigned steps,
                                      unsigned threads) {
    Image& memory = shared_memory<Image>();
    for (int at = threadIdx.x; at < kImageBytes; at += kWarpgroup) memory.bytes[at] = image[at];
    if (steps & proxy_fence) fence_proxy_async();
    __syncthreads();
    if (threadIdx.x >= threads) return;
    float own[2][32];
    std::memcpy(own, sums + threadIdx.x * 64, sizeof(own));
    const uint64_t origin = shared_address(&memory) / kDescriptorUnit;
    if (steps & register_fence) wgmma_fence();
    wgmma_m64n128k16<S, true>(own, origin + a, origin + b);
    if (steps & second_product) wgmma_m64n128k16<S, true>(own, origin + a, origin + b);
    wgmma_commit();
    if (steps & touch_sums) own[1][3] = 1;
    if (steps & touch_operands) memory.bytes[threadIdx.x] = 0x11;
    if (steps & wait) wgmma_wait<0>(own);
    std::memcpy(sums + threadIdx.x * 64, own, sizeof(own));
    __syncthreads();
    wgmma_wait<0>(own);
}

// --- Engines -------------------------------------------------------------------------------------

// A block takes all tiles of its rows, as mining does.
template <typename S, typename TileType>
__global__ void multiply_rows(const Rows<S> x /* [n, d] */, const Rows<S> y /* [m, d] */,
                              float* out /* [n, m] */) {
    const int64_t first_row = int64_t(blockIdx.x) * TileType::kRows;
    TileType tile;
    for (int64_t first_column = 0; first_column < y.rows; first_column += TileType::kColumns) {
        tile.accumulate(shared_memory<typename TileType::Memory>(), x, first_row, y, first_column,
                        x.width, Product());
        for (int r = 0; r < TileType::kOwnRows; ++r) {
            for (int c = 0; c < TileType::kOwnColumns; ++c) {
                const int64_t i = first_row + TileType::row(r),
                              j = first_column + TileType::column(c);
                if (i < x.rows && j < y.rows) out[i * y.rows + j] = tile.values[r][c];
            }
        }
    }
}

template <typename S, typename TileType>
void launch_products(Address x, Address y, Address out, int64_t n, int64_t m, int64_t d) {
    static DeviceSet allowed;
    const auto kernel = multiply_rows<S, TileType>;
    constexpr size_t kShared = sizeof(typename TileType::Memory);
    allow_shared(kernel, kShared, allowed);
    const Rows<S> left = {reinterpret_cast<const S*>(x), n, d};
    const Rows<S> right = {reinterpret_cast<const S*>(y), m, d};
    FGSBIR_CHECK_CUDA(launch(kernel, grid_of(ceil_div(n, TileType::kRows)), kTileThreads, kShared,
                             nullptr, left, right, reinterpret_cast<float*>(out)));
}

// For float32, float16 and bfloat16.
template <typename F>
void with_tensor_type(ScalarType type, F&& f) {
    with_type(type, [&](auto s) {
        if constexpr (!std::is_same_v<decltype(s), double>) f(s);
    });
}

}  // namespace
}  // namespace fgsbir::cuda

void bind_probes(py::module_& module) {
    using namespace fgsbir;
    using namespace fgsbir::cuda;
    py::enum_<ScalarType>(module, "ScalarType", py::module_local())
        .value("float32", ScalarType::float32)
        .value("float16", ScalarType::float16)
        .value("bfloat16", ScalarType::bfloat16);
    module.def("multiply", [](ScalarType type, Address a, Address b, Address c, unsigned lanes) {
        with_tensor_type(type, [&](auto s) {
            FGSBIR_CHECK_CUDA(launch(
                multiply<decltype(s)>, 1, kWarp, 0, nullptr, reinterpret_cast<const unsigned*>(a),
                reinterpret_cast<const unsigned*>(b), reinterpret_cast<float*>(c), lanes));
        });
    });
    module.def("load", [](Address rows, Address out) {
        FGSBIR_CHECK_CUDA(launch(load, 1, kWarp, sizeof(Chunks), nullptr,
                                 reinterpret_cast<const uint4*>(rows),
                                 reinterpret_cast<uint4*>(out)));
    });
    module.def("copy", [](Address from, Address to, unsigned existing, bool wait_first) {
        FGSBIR_CHECK_CUDA(launch(copy, 1, kWarp, sizeof(Chunks), nullptr,
                                 reinterpret_cast<const uint4*>(from), reinterpret_cast<uint4*>(to),
                                 existing, wait_first));
    });
    module.def("multiply_by_warpgroup", [](ScalarType type, Address image, uint64_t a, uint64_t b,
                                           Address sums, unsigned steps, unsigned threads) {
        with_tensor_type(type, [&](auto s) {
            using S = decltype(s);
            if constexpr (sizeof(S) == 2) {
                FGSBIR_CHECK_CUDA(launch(multiply_by_warpgroup<S>, 1, kWarpgroup, sizeof(Image),
                                         nullptr, reinterpret_cast<const unsigned char*>(image), a,
                                         b, reinterpret_cast<float*>(sums), steps, threads));
            }
        });
    });
    for (const auto& [name, step] : {std::pair{"PROXY_FENCE", proxy_fence},
                                     {"REGISTER_FENCE", register_fence},
                                     {"WAIT", wait},
                                     {"SECOND_PRODUCT", second_product},
                                     {"TOUCH_SUMS", touch_sums},
                                     {"TOUCH_OPERANDS", touch_operands}}) {
        module.attr(name) = static_cast<unsigned>(step);
    }
    py::enum_<Engine> engines(module, "Engine", py::module_local());
    for (const EngineTraits& traits : kEngines) engines.value(traits.name, traits.engine);
    module.def("multiply_rows", [](ScalarType type, Engine engine, bool large, Address x, Address y,
                                   Address out, int64_t n, int64_t m, int64_t d) {
        with_tensor_type(type, [&](auto s) {
            using S = decltype(s);
            with_tensor_tile<S>(engine, large, [&](auto tag) {
                launch_products<S, typename decltype(tag)::Type>(x, y, out, n, m, d);
            });
        });
    });
}
