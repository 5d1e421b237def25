// The products of warpgroups (include/emulated_wgmma.h).
//
// A product reads its operands when it is asked for, and they must still be the same when it is
// waited for: a stage that is filled before is an error, and so is memory that was changed after
// the last fence.proxy.async. That fence, of any thread, takes over the whole of the block's shared
// memory; that every thread needs its own is not known here. Registers of sums hold NaN from the
// product on until the group has been waited for, and must not be touched until then; after it,
// and before the first product, wgmma.fence must come before the next product. Whether the
// registers were written between that fence and the product is not known here.

#include <array>
#include <memory>
#include <vector>

#include "../../csrc/cuda/wgmma.cuh"

namespace emulation {
namespace {

constexpr int kThreads = 128, kRegisters = 64, kDepth = 16, kRowsOfA = 64, kRowsOfB = 128;
// What a swizzle leaves together, and a core matrix has of a row.
constexpr size_t kChunkBytes = 16;
constexpr uint32_t kUndefinedBits = 0x7fc0deadu;  // a NaN

// --- Memory --------------------------------------------------------------------------------------

// Where a block's dynamic shared memory begins on Hopper, which keeps the first KB for itself.
constexpr uint32_t kWindow = 1024;

std::vector<unsigned char> seen;  // the block's shared memory, as products see it

unsigned bits_of(uint64_t word, int first, int count) {
    return static_cast<unsigned>(word >> first & ((uint64_t(1) << count) - 1));
}

// Numbers of an operand, 16 of each row, as products see them.
class Operand {
  public:
    Operand(uint64_t descriptor, int rows) : descriptor_(descriptor), rows_(rows) {
        if ((descriptor & ~kDefinedBits) != 0 || bits_of(descriptor, 49, 3) != 0) {
            throw std::runtime_error("a descriptor with bits that mean nothing, or a base offset");
        }
        numbers_.resize(static_cast<size_t>(rows) * kDepth);
        const BlockMemory memory = block_memory();
        each_chunk([&](uint32_t at, size_t number) {
            std::memcpy(&numbers_[number], memory.begin + at, kChunkBytes);
            if (std::memcmp(memory.begin + at, &seen[at], kChunkBytes) != 0) {
                throw std::runtime_error("a product reads memory without fence.proxy.async");
            }
        });
    }

    // Whether memory still holds what was read.
    bool is_there() const {
        bool same = true;
        const BlockMemory memory = block_memory();
        each_chunk([&](uint32_t at, size_t number) {
            same = same && std::memcmp(&numbers_[number], memory.begin + at, kChunkBytes) == 0;
        });
        return same;
    }

    uint16_t at(int row, int k) const { return numbers_[row * kDepth + k]; }

  private:
    static constexpr uint64_t kField = 0x3fff;
    static constexpr uint64_t kDefinedBits =
        kField | kField << 16 | kField << 32 | uint64_t(7) << 49 | uint64_t(3) << 62;

    // Where a chunk lies in the block's shared memory. The depth is contiguous: 8 rows of the
    // swizzle's width lie together, or without a swizzle 8 rows of a chunk.
    uint32_t place(int row, int chunk) const {
        const uint32_t start = bits_of(descriptor_, 0, 14) * 16;
        const uint32_t leading = bits_of(descriptor_, 16, 14) * 16;
        const uint32_t stride = bits_of(descriptor_, 32, 14) * 16;
        const int mode = static_cast<int>(bits_of(descriptor_, 62, 2));
        const int swizzled_bits = mode == 0 ? 0 : 4 - mode;  // 1: 128 bytes, 2: 64, 3: 32
        const uint32_t width = kChunkBytes << swizzled_bits;
        const uint32_t to_chunk = mode == 0 ? leading : kChunkBytes;
        uint32_t at = start + row / 8 * stride + row % 8 * width + chunk * to_chunk;
        const uint32_t swizzled = (1u << swizzled_bits) - 1;
        at ^= (at >> 7 & swizzled) << 4;
        if (at < kWindow || at - kWindow + kChunkBytes > block_memory().bytes) {
            throw std::runtime_error("a product reads outside of the block's shared memory");
        }
        return at - kWindow;
    }

    // Calls f with the place of a chunk in the block's shared memory and that of its numbers here.
    template <typename F>
    void each_chunk(F f) const {
        for (int row = 0; row < rows_; ++row) {
            for (int chunk = 0; chunk < 2; ++chunk) f(place(row, chunk), row * kDepth + chunk * 8);
        }
    }

    uint64_t descriptor_;
    int rows_;
    std::vector<uint16_t> numbers_;
};

// --- Threads -------------------------------------------------------------------------------------

// Sums that products are under way to.
struct Sums {
    float* registers[kRegisters];
    float values[kRegisters];
    size_t group;  // the last that has such a product

    void take() {
        for (int i = 0; i < kRegisters; ++i) values[i] = *registers[i];
    }
    void hide() const {
        for (float* x : registers) *x = bit_cast<float>(kUndefinedBits);
    }
    void show() const {
        for (int i = 0; i < kRegisters; ++i) *registers[i] = values[i];
    }
    void expect_untouched() const {
        for (const float* x : registers) {
            if (bit_cast<uint32_t>(*x) == kUndefinedBits) continue;
            throw std::runtime_error("registers of a product that is under way were written");
        }
    }
};

struct Reading {
    std::shared_ptr<const Operand> operand;
    size_t group;
};

struct Thread {
    bool fenced = false;
    size_t closed_groups = 0;
    std::vector<Sums> under_way;
    std::vector<Reading> readings;

    Sums& sums_for(float* const (&registers)[kRegisters]) {
        for (Sums& sums : under_way) {
            if (sums.registers[0] != registers[0]) continue;
            sums.expect_untouched();
            return sums;
        }
        if (!fenced) throw std::runtime_error("a product without wgmma.fence after other accesses");
        Sums& sums = under_way.emplace_back();
        std::copy_n(registers, kRegisters, sums.registers);
        sums.take();
        return sums;
    }

    // Ends the groups before `end`.
    void end_groups(size_t end) {
        const auto ended = [&](const auto& x) { return x.group < end; };
        for (const Reading& reading : readings) {
            if (!ended(reading) || reading.operand->is_there()) continue;
            throw std::runtime_error("memory was changed before the product that reads it ended");
        }
        for (const Sums& sums : under_way) {
            if (!ended(sums)) continue;
            sums.expect_untouched();
            sums.show();
            fenced = false;
        }
        readings.erase(std::remove_if(readings.begin(), readings.end(), ended), readings.end());
        under_way.erase(std::remove_if(under_way.begin(), under_way.end(), ended), under_way.end());
    }
};

uint64_t known_block = 0;
std::vector<Thread> threads;  // of that block

// Of a new block no memory has been seen, and no thread has done anything yet.
void know_block() {
    const BlockMemory memory = block_memory();
    if (known_block == memory.block) return;
    known_block = memory.block;
    seen.assign(memory.bytes, 0x5a);
    threads.assign(memory.threads, {});
}

Thread& own_thread() {
    know_block();
    return threads[thread_index.x];
}

// --- Products ------------------------------------------------------------------------------------

struct Lane {
    Thread* thread;
    float* registers[kRegisters];
    uint64_t a, b;
    ToFloat to_float;
};

// "Register fragments for wgmma.mma_async.m64nNk16", matrix D: where register i of a thread lies.
Position place_of_sum(int thread, int i) {
    const int warp = thread / 32, group = thread % 32 >> 2, in_group = thread % 4;
    return {16 * warp + group + ((i & 2) != 0 ? 8 : 0), i / 4 * 8 + in_group * 2 + (i & 1)};
}

int64_t product_count = 0;

void multiply(void* const* lanes) {
    ++product_count;
    const Lane& first = *static_cast<const Lane*>(lanes[0]);
    const auto a = std::make_shared<const Operand>(first.a, kRowsOfA);
    const auto b = std::make_shared<const Operand>(first.b, kRowsOfB);
    static double of_a[kRowsOfA][kDepth], of_b[kRowsOfB][kDepth];
    for (int k = 0; k < kDepth; ++k) {
        for (int row = 0; row < kRowsOfA; ++row) of_a[row][k] = first.to_float(a->at(row, k));
        for (int row = 0; row < kRowsOfB; ++row) of_b[row][k] = first.to_float(b->at(row, k));
    }
    for (int thread = 0; thread < kThreads; ++thread) {
        const Lane& own = *static_cast<const Lane*>(lanes[thread]);
        if (own.a != first.a || own.b != first.b) {
            throw std::runtime_error("threads of a warpgroup bring different descriptors");
        }
        Sums& sums = own.thread->sums_for(own.registers);
        for (int i = 0; i < kRegisters; ++i) {
            const Position at = place_of_sum(thread, i);
            double sum = sums.values[i];
            for (int k = 0; k < kDepth; ++k) sum += of_a[at.row][k] * of_b[at.column][k];
            sums.values[i] = cut_off(sum);
        }
        sums.hide();
        sums.group = own.thread->closed_groups;
        if (thread % 32 != 0) continue;  // a warp waits together: one of its lanes is enough
        own.thread->readings.push_back({a, sums.group});
        own.thread->readings.push_back({b, sums.group});
    }
}

void fence(void* const* lanes) {
    for (int lane = 0; lane < 32; ++lane) static_cast<Thread*>(lanes[lane])->fenced = true;
}

void commit(void* const* lanes) {
    for (int lane = 0; lane < 32; ++lane) ++static_cast<Thread*>(lanes[lane])->closed_groups;
}

struct Waiting {
    Thread* thread;
    size_t groups_that_may_be_under_way;
};

void wait(void* const* lanes) {
    for (int lane = 0; lane < 32; ++lane) {
        const auto& own = *static_cast<const Waiting*>(lanes[lane]);
        if (own.thread->closed_groups > own.groups_that_may_be_under_way) {
            own.thread->end_groups(own.thread->closed_groups - own.groups_that_may_be_under_way);
        }
    }
}

}  // namespace

uint32_t shared_window_address(const void* in_shared_memory) {
    const auto* byte = static_cast<const unsigned char*>(in_shared_memory);
    return kWindow + static_cast<uint32_t>(byte - block_memory().begin);
}

void fence_async_proxy() {
    know_block();
    std::memcpy(seen.data(), block_memory().begin, seen.size());
}

void fence_sums() {
    warp_together(fence, &own_thread());
}
void commit_products() {
    warp_together(commit, &own_thread());
}
void wait_for_products(int groups_that_may_be_under_way) {
    Waiting waiting = {&own_thread(), static_cast<size_t>(groups_that_may_be_under_way)};
    warp_together(wait, &waiting);
}

void multiply_m64n128k16(float* const (&sums)[64], uint64_t a, uint64_t b, ToFloat to_float) {
    Lane lane = {&own_thread(), {}, a, b, to_float};
    std::copy_n(sums, kRegisters, lane.registers);
    warpgroup_together(multiply, &lane);
}

int64_t products_of_warpgroups() {
    return product_count;
}

bool products_are_under_way() {
    return known_block == block_memory().block && !own_thread().under_way.empty();
}

}  // namespace emulation
