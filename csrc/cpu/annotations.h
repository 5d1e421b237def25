// Annotated attributes as bits, eight of them at a time.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "isa.h"

namespace fgsbir::cpu {

// A byte for each: 1, 0, or anything below for unknown. Places past the end of a row hold 0.
struct EightAnnotations {
    uint64_t bytes = 0;

    template <typename A>
    FGSBIR_INLINE explicit EightAnnotations(const A* from, int64_t count) {
        int8_t eight[8] = {};
        for (int64_t i = 0; i < std::min<int64_t>(count, 8); ++i) {
            eight[i] = from[i] == 1 ? 1 : from[i] == 0 ? 0 : from[i] == -1 ? -1 : kOther;
        }
        std::memcpy(&bytes, eight, sizeof bytes);
    }

    FGSBIR_INLINE explicit EightAnnotations(const int8_t* from, int64_t count) {
        if (count >= 8) {
            std::memcpy(&bytes, from, sizeof bytes);
            return;
        }
        for (int64_t i = 0; i < count; ++i) {
            bytes |= static_cast<uint64_t>(static_cast<uint8_t>(from[i])) << (8 * i);
        }
    }

    FGSBIR_INLINE uint32_t yes() const { return gathered(bytes & ~(bytes >> 7)); }
    FGSBIR_INLINE uint32_t unknown() const { return gathered(bytes >> 7); }

    // Whether all are 1, 0 or -1.
    FGSBIR_INLINE bool valid() const {
        const uint64_t negative = bytes >> 7 & kLowest;
        return (((bytes ^ negative * 255) & ~kLowest) | (negative & ~bytes)) == 0;
    }

  private:
    static constexpr int8_t kOther = 2;
    static constexpr uint64_t kLowest = 0x0101010101010101u;

    // The lowest bits of the bytes side by side: each is multiplied to a place of its own on top.
    FGSBIR_INLINE static uint32_t gathered(uint64_t v) {
        return static_cast<uint32_t>((v & kLowest) * 0x0102040810204080u >> 56);
    }
};

}  // namespace fgsbir::cpu
