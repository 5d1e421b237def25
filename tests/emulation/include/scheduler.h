// Scheduler that runs the threads of a block as fibers, in an order that a seed decides.
//
// A fiber runs until it has to wait for others: at a barrier of the block or at an operation of the
// warp. Which of those that can run does so next is random, so that code that depends on an order
// it has not asked for, such as a missing barrier, comes out wrong. What no schedule could complete
// is an error: a barrier that some threads never reach, a warp operation with a lane outside its
// mask, lanes of one mask at different operations, a thread that ends before its copies or products
// have.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace emulation {

struct Index {
    unsigned x, y, z;
};

// Of the fiber that runs.
extern Index thread_index, block_index;

enum class WarpOperation { sync, ballot, shuffle, shuffle_xor, shuffle_up, match_any, together };

// Waits for all threads of the block that have not ended; returns whether any predicate was set.
bool block_barrier(bool predicate);

// Waits for all lanes of the mask and returns this lane's result.
uint64_t warp_exchange(WarpOperation operation, unsigned mask, uint64_t value, int argument);

// Waits for all 32 lanes of the warp, which must come with the same function; it is called once,
// with what each lane has brought.
using Together = void (*)(void* const* lanes);
void warp_together(Together function, void* brought);
// The same for the 128 threads of a warpgroup.
void warpgroup_together(Together function, void* brought);

// Asynchronous copies of 16 bytes, from memory or, of a null pointer, of zeros. They take place
// when their thread waits for the group that they are in; until then their target holds NaN.
void copy_later(void* to, const void* from);
void commit_copies();
void wait_for_copies(int groups_that_may_be_under_way);

// What the block that runs has been launched with, and the how manieth it is of all that have run.
struct BlockMemory {
    unsigned char* begin;  // dynamic shared memory
    size_t bytes;
    unsigned threads;
    uint64_t block;
};
BlockMemory block_memory();

// Whether the thread that runs has asked for a product of its warpgroup and not waited for it.
bool products_are_under_way();

void set_seed(uint64_t seed);
// Whether grids that are launched are run, and whether they are recorded; both, at first.
void set_runs(bool runs);
void set_records(bool records);
int64_t launches();

// A grid that was launched: where in the module's file its kernel lies, its shape, the bytes of
// dynamic shared memory of a block, and the bytes of each parameter.
struct Launch {
    uint64_t kernel;
    unsigned grid_x, grid_y, threads;
    size_t shared;
    std::vector<std::string> parameters;
};
// From the first-th run on.
std::vector<Launch> launched_since(int64_t first);
int64_t products_of_warpgroups();

}  // namespace emulation
