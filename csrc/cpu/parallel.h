// Parallel loop over rows on OpenMP threads: torch's own, since its OpenMP runtime is the one
// already loaded when this library is.
#pragma once

#include <algorithm>
#include <cstdint>

#include "isa.h"

namespace fgsbir::cpu {

// Calls body(i) for every i in [0, n), compiled for this machine's instruction set; body is marked
// FGSBIR_INLINE. A thread gets one contiguous range, of at least `grain` rows.
template <typename Body>
void parallel_rows(int64_t n, int64_t grain, int threads, const Body& body) {
    const int64_t parts = std::clamp<int64_t>(n / std::max<int64_t>(grain, 1), 1, threads);
#pragma omp parallel for num_threads(static_cast<int>(parts)) schedule(static) if (parts > 1)
    for (int64_t part = 0; part < parts; ++part) {
        const int64_t begin = n * part / parts, end = n * (part + 1) / parts;
        run([&]() FGSBIR_INLINE {
            for (int64_t i = begin; i < end; ++i) body(i);
        });
    }
}

// The grain that makes a part worth a thread, for rows of about `work` arithmetic operations each.
inline int64_t grain_of(int64_t work) {
    return std::max<int64_t>(1, 32768 / std::max<int64_t>(work, 1));
}

}  // namespace fgsbir::cpu
