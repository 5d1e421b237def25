// Scheduler of the emulated threads (include/scheduler.h), on fibers of Boost.Context.

#include <dlfcn.h>
#include <sys/mman.h>

#include <boost/context/detail/fcontext.hpp>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "../../csrc/cuda/numeric.cuh"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

// What `extern __shared__ unsigned char shared_bytes[]` of a kernel refers to.
namespace fgsbir::cuda {
constexpr size_t kSharedBytes = kSharedOfHopper;
alignas(1024) unsigned char shared_bytes[kSharedBytes];
}  // namespace fgsbir::cuda

namespace emulation {

Index thread_index, block_index;

namespace {

namespace context = boost::context::detail;
using fgsbir::cuda::kSharedBytes;
using fgsbir::cuda::shared_bytes;

constexpr unsigned kWarp = 32, kWarpgroup = 128, kMaxThreads = 1024;
constexpr size_t kStackBytes = 256 * 1024;

enum class State { ready, at_block_barrier, at_warp_operation, ended };

struct Copy {
    void* to;
    const void* from;
};
constexpr size_t kCopyBytes = 16;

struct Fiber {
    context::fcontext_t context;
    char* stack;
    State state;
    // The warp operation it waits at, and what came of it.
    WarpOperation operation;
    unsigned threads;  // that take part: of a warp or a warpgroup
    unsigned mask;     // of each warp
    uint64_t value, result;
    int argument;
    // For WarpOperation::together.
    Together function;
    void* brought;
    std::deque<std::vector<Copy>> copies;  // groups, the last one still open
};

// One stack for each thread of the largest block, kept for the life of the process; only what is
// touched takes memory.
char* stack_memory() {
    static char* const memory = [] {
        void* mapped = mmap(nullptr, kStackBytes * kMaxThreads, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (mapped == MAP_FAILED) throw std::bad_alloc();
        return static_cast<char*>(mapped);
    }();
    return memory;
}

struct Block {
    const std::function<void()>* thread = nullptr;
    std::vector<Fiber> fibers;
    std::vector<unsigned> ready;
    unsigned running = 0, alive = 0, at_barrier = 0;
    bool any_predicate = false, barrier_result = false;
    std::string error;
    context::fcontext_t scheduler = nullptr;
    // The scheduler's own stack, as AddressSanitizer is told when a fiber switches back to it.
    const void* scheduler_stack = nullptr;
    size_t scheduler_stack_bytes = 0;
    size_t shared = 0;
    uint64_t number = 0;
};

std::mutex one_grid_at_a_time;
constexpr size_t kSharedWithoutAsking = 48 * 1024;
std::map<const void*, size_t> allowed_shared_bytes;  // of kernels that have asked
std::mt19937_64 random_bits;
std::vector<Launch> launched;  // every grid
bool runs_grids = true, records_grids = true;
std::string last_failure;
Block block;

// Where it lies in the file of the module that has it.
uint64_t file_offset(const void* kernel) {
    Dl_info info = {};
    if (dladdr(kernel, &info) == 0) throw std::runtime_error("a kernel of no module");
    return reinterpret_cast<uintptr_t>(kernel) - reinterpret_cast<uintptr_t>(info.dli_fbase);
}

unsigned random_below(size_t count) {
    return static_cast<unsigned>(random_bits() % count);
}

// --- Switching -----------------------------------------------------------------------------------

void to_scheduler(bool ended) {
#ifdef __SANITIZE_ADDRESS__
    void* fake_stack = nullptr;
    __sanitizer_start_switch_fiber(ended ? nullptr : &fake_stack, block.scheduler_stack,
                                   block.scheduler_stack_bytes);
#else
    (void)ended;
#endif
    block.scheduler = context::jump_fcontext(block.scheduler, nullptr).fctx;
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
#endif
}

void to_fiber(unsigned index) {
    Fiber& fiber = block.fibers[index];
    block.running = index;
    thread_index = {index, 0, 0};
#ifdef __SANITIZE_ADDRESS__
    void* fake_stack = nullptr;
    __sanitizer_start_switch_fiber(&fake_stack, fiber.stack, kStackBytes);
#endif
    fiber.context = context::jump_fcontext(fiber.context, nullptr).fctx;
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
#endif
}

// The first function on a fiber's stack.
void fiber_main(context::transfer_t from) {
    block.scheduler = from.fctx;
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(nullptr, &block.scheduler_stack, &block.scheduler_stack_bytes);
#endif
    try {
        (*block.thread)();
        for (const auto& group : block.fibers[block.running].copies) {
            if (!group.empty()) throw std::runtime_error("a thread ends before its copies have");
        }
        if (products_are_under_way()) {
            throw std::runtime_error("a thread ends before its products have");
        }
    } catch (const std::exception& error) {
        block.error = error.what();
    }
    block.fibers[block.running].state = State::ended;
    --block.alive;
    to_scheduler(true);
}

std::string place() {
    return "thread " + std::to_string(thread_index.x) + " of block (" +
           std::to_string(block_index.x) + ", " + std::to_string(block_index.y) + ")";
}

// --- Running a block -----------------------------------------------------------------------------

void release_block_barrier() {
    block.barrier_result = block.any_predicate;
    block.any_predicate = false;
    block.at_barrier = 0;
    for (unsigned i = 0; i < block.fibers.size(); ++i) {
        if (block.fibers[i].state != State::at_block_barrier) continue;
        block.fibers[i].state = State::ready;
        block.ready.push_back(i);
    }
}

// Shared memory holds garbage when a block starts; which differs from block to block.
void poison_shared_memory(size_t bytes) {
#ifdef __SANITIZE_ADDRESS__
    ASAN_UNPOISON_MEMORY_REGION(shared_bytes, kSharedBytes);
#endif
    std::memset(shared_bytes, random_bits() % 2 == 0 ? 0xff : 0x7b, kSharedBytes);
#ifdef __SANITIZE_ADDRESS__
    ASAN_POISON_MEMORY_REGION(shared_bytes + bytes, kSharedBytes - bytes);
#else
    (void)bytes;
#endif
}

void run_block(unsigned threads, size_t shared) {
    poison_shared_memory(shared);
    block.shared = shared;
    ++block.number;
    block.fibers.resize(threads);
    block.ready.clear();
    block.alive = threads;
    block.at_barrier = 0;
    block.any_predicate = false;
    for (unsigned i = 0; i < threads; ++i) {
        Fiber& fiber = block.fibers[i];
        fiber.stack = stack_memory() + i * kStackBytes;
#ifdef __SANITIZE_ADDRESS__
        ASAN_UNPOISON_MEMORY_REGION(fiber.stack, kStackBytes);
#endif
        fiber.context = context::make_fcontext(fiber.stack + kStackBytes, kStackBytes, fiber_main);
        fiber.state = State::ready;
        fiber.copies.assign(1, {});
        block.ready.push_back(i);
    }
    while (block.alive > 0 && block.error.empty()) {
        if (block.ready.empty()) {
            if (block.at_barrier == block.alive) {
                release_block_barrier();
                continue;
            }
            block.error = std::to_string(block.at_barrier) +
                          " threads wait at a block barrier and " +
                          std::to_string(block.alive - block.at_barrier) +
                          " at a warp operation that others never reach";
            break;
        }
        const unsigned at = random_below(block.ready.size());
        std::swap(block.ready[at], block.ready.back());
        const unsigned next = block.ready.back();
        block.ready.pop_back();
        to_fiber(next);
    }
    if (!block.error.empty()) block.error += " (" + place() + ")";
}

// --- Warp operations -----------------------------------------------------------------------------

uint64_t result_for(const Fiber* lanes, unsigned lane) {
    constexpr uint64_t kUndefined = 0xdeadbeefdeadbeefull;
    const Fiber& own = lanes[lane];
    uint64_t bits = 0;
    switch (own.operation) {
        case WarpOperation::sync:
        case WarpOperation::together:
            return 0;
        case WarpOperation::ballot:
        case WarpOperation::match_any:
            for (unsigned other = 0; other < kWarp; ++other) {
                if (!(own.mask >> other & 1)) continue;
                const bool set = own.operation == WarpOperation::ballot
                                     ? lanes[other].value != 0
                                     : lanes[other].value == own.value;
                bits |= static_cast<uint64_t>(set) << other;
            }
            return bits;
        case WarpOperation::shuffle: {
            const unsigned source = static_cast<unsigned>(own.argument) % kWarp;
            return own.mask >> source & 1 ? lanes[source].value : kUndefined;
        }
        case WarpOperation::shuffle_xor: {
            const unsigned source = (lane ^ static_cast<unsigned>(own.argument)) % kWarp;
            return own.mask >> source & 1 ? lanes[source].value : kUndefined;
        }
        case WarpOperation::shuffle_up: {
            const int source = static_cast<int>(lane) - own.argument;
            if (source < 0) return own.value;
            return own.mask >> source & 1 ? lanes[source].value : kUndefined;
        }
    }
    return kUndefined;
}

// Completes the operation of the running lane if all that take part have come to it.
bool complete_warp_operation() {
    const Fiber& own = block.fibers[block.running];
    const unsigned first = block.running / own.threads * own.threads;
    Fiber* lanes = &block.fibers[first];
    const auto takes_part = [&](unsigned lane) { return own.mask >> lane % kWarp & 1; };
    for (unsigned lane = 0; lane < own.threads; ++lane) {
        if (!takes_part(lane)) continue;
        if (first + lane >= block.fibers.size() || lanes[lane].state == State::ended) {
            throw std::runtime_error("a warp operation's mask names a thread that has ended");
        }
        if (lanes[lane].state != State::at_warp_operation) return false;
        if (lanes[lane].operation != own.operation || lanes[lane].threads != own.threads ||
            lanes[lane].mask != own.mask ||
            (own.operation == WarpOperation::together && lanes[lane].function != own.function)) {
            // Another warp of the warpgroup may have operations of its own before it comes here.
            if ((first + lane) / kWarp != block.running / kWarp) return false;
            throw std::runtime_error("lanes of one warp are at different warp operations");
        }
    }
    if (own.operation == WarpOperation::together) {
        void* brought[kWarpgroup];
        for (unsigned lane = 0; lane < own.threads; ++lane) brought[lane] = lanes[lane].brought;
        own.function(brought);
    }
    for (unsigned lane = 0; lane < own.threads; ++lane) {
        if (takes_part(lane)) lanes[lane].result = result_for(lanes, lane);
    }
    for (unsigned lane = 0; lane < own.threads; ++lane) {
        if (!takes_part(lane)) continue;
        lanes[lane].state = State::ready;
        if (first + lane != block.running) block.ready.push_back(first + lane);
    }
    return true;
}

uint64_t exchange(unsigned threads, WarpOperation operation, unsigned mask, uint64_t value,
                  int argument) {
    if (!(mask >> block.running % kWarp & 1)) {
        throw std::runtime_error("a lane takes part in a warp operation whose mask leaves it out");
    }
    Fiber& own = block.fibers[block.running];
    own.operation = operation;
    own.threads = threads;
    own.mask = mask;
    own.value = value;
    own.argument = argument;
    own.state = State::at_warp_operation;
    if (!complete_warp_operation()) to_scheduler(false);
    return own.result;
}

void together(unsigned threads, Together function, void* brought) {
    Fiber& own = block.fibers[block.running];
    own.function = function;
    own.brought = brought;
    exchange(threads, WarpOperation::together, 0xffffffffu, 0, 0);
}

}  // namespace

bool block_barrier(bool predicate) {
    block.any_predicate |= predicate;
    ++block.at_barrier;
    block.fibers[block.running].state = State::at_block_barrier;
    to_scheduler(false);
    return block.barrier_result;
}

uint64_t warp_exchange(WarpOperation operation, unsigned mask, uint64_t value, int argument) {
    return exchange(kWarp, operation, mask, value, argument);
}

void warp_together(Together function, void* brought) {
    together(kWarp, function, brought);
}

void warpgroup_together(Together function, void* brought) {
    together(kWarpgroup, function, brought);
}

BlockMemory block_memory() {
    return {shared_bytes, block.shared, static_cast<unsigned>(block.fibers.size()), block.number};
}

// --- Asynchronous copies -------------------------------------------------------------------------

void copy_later(void* to, const void* from) {
    if ((reinterpret_cast<uintptr_t>(to) | reinterpret_cast<uintptr_t>(from)) % kCopyBytes != 0) {
        throw std::runtime_error("asynchronous copies take addresses at multiples of 16 bytes");
    }
    std::memset(to, 0xff, kCopyBytes);
    block.fibers[block.running].copies.back().push_back({to, from});
}

void commit_copies() {
    block.fibers[block.running].copies.emplace_back();
}

void wait_for_copies(int groups_that_may_be_under_way) {
    auto& groups = block.fibers[block.running].copies;
    while (groups.size() > static_cast<size_t>(groups_that_may_be_under_way) + 1) {
        for (const Copy& copy : groups.front()) {
            if (copy.from == nullptr) {
                std::memset(copy.to, 0, kCopyBytes);
            } else {
                std::memcpy(copy.to, copy.from, kCopyBytes);
            }
        }
        groups.pop_front();
    }
}

cudaError_t run_grid(const cudaLaunchConfig_t& config, const void* kernel,
                     std::vector<std::string> parameters, const std::function<void()>& thread) {
    const std::lock_guard<std::mutex> lock(one_grid_at_a_time);
    const unsigned threads = config.blockDim.x;
    if (threads == 0 || threads > kMaxThreads || config.blockDim.y != 1 || config.blockDim.z != 1 ||
        config.gridDim.x == 0 || config.gridDim.x > 0x7fffffffu || config.gridDim.y == 0 ||
        config.gridDim.y > 65535 || config.gridDim.z != 1) {
        return cudaErrorInvalidConfiguration;
    }
    const auto allowed = allowed_shared_bytes.find(kernel);
    const size_t most =
        allowed == allowed_shared_bytes.end() ? kSharedWithoutAsking : allowed->second;
    if (config.dynamicSmemBytes > most) return cudaErrorInvalidValue;
    if (records_grids) {
        launched.push_back({file_offset(kernel), config.gridDim.x, config.gridDim.y, threads,
                            config.dynamicSmemBytes, std::move(parameters)});
    }
    if (!runs_grids) return cudaSuccess;
    block.thread = &thread;
    block.error.clear();
    std::vector<uint64_t> order(static_cast<uint64_t>(config.gridDim.x) * config.gridDim.y);
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), random_bits);
    for (const uint64_t at : order) {
        block_index = {static_cast<unsigned>(at % config.gridDim.x),
                       static_cast<unsigned>(at / config.gridDim.x), 0};
        run_block(threads, config.dynamicSmemBytes);
        if (block.error.empty()) continue;
        last_failure = block.error;
        return cudaErrorLaunchFailure;
    }
    return cudaSuccess;
}

cudaError_t allow_shared(const void* kernel, int bytes) {
    const std::lock_guard<std::mutex> lock(one_grid_at_a_time);
    if (bytes < 0 || static_cast<size_t>(bytes) > kSharedBytes) return cudaErrorInvalidValue;
    allowed_shared_bytes[kernel] = static_cast<size_t>(bytes);
    return cudaSuccess;
}

void set_seed(uint64_t seed) {
    random_bits.seed(seed);
}
void set_runs(bool runs) {
    runs_grids = runs;
}
void set_records(bool records) {
    records_grids = records;
}
int64_t launches() {
    return static_cast<int64_t>(launched.size());
}

std::vector<Launch> launched_since(int64_t first) {
    return {launched.begin() + first, launched.end()};
}

}  // namespace emulation

cudaError_t cudaGetLastError() {
    return cudaSuccess;
}

cudaError_t cudaGetDevice(int* device) {
    *device = 0;
    return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int* version) {
    *version = 0;
    return cudaSuccess;
}

namespace {

struct ErrorText {
    const char *name, *description;
};

ErrorText text_of(cudaError_t error) {
    switch (error) {
        case cudaSuccess:
            return {"cudaSuccess", "no error"};
        case cudaErrorInvalidValue:
            return {"cudaErrorInvalidValue", "invalid argument"};
        case cudaErrorInvalidConfiguration:
            return {"cudaErrorInvalidConfiguration", "invalid configuration argument"};
        case cudaErrorLaunchFailure:
            return {"cudaErrorLaunchFailure", emulation::last_failure.c_str()};
    }
    return {"unknown", "unknown"};
}

}  // namespace

const char* cudaGetErrorName(cudaError_t error) {
    return text_of(error).name;
}

const char* cudaGetErrorString(cudaError_t error) {
    return text_of(error).description;
}
