// A search by few queries, in one stream of photos.
#pragma once

#include <cstdint>

#include "search.h"

namespace fgsbir::cpu {

constexpr int64_t kFewQueries = 8;
constexpr int64_t kMostStreamed = 1024;  // k, of which every thread keeps so many

// Writes the nearest of every query, in any order.
template <typename T>
void search_stream(const State<T>& search, const Nearest<T>& nearest /* of all queries */,
                   int threads);

}  // namespace fgsbir::cpu
