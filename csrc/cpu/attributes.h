// The attribute distance h of one row to many, from packed codes.
#pragma once

#include <cstdint>
#include <vector>

#include "../ops.h"
#include "vec.h"

namespace fgsbir::cpu {

// Codes hold 32 attributes a word; all rows of a word lie side by side, [2, words, rows]: first the
// bits that are 1, then the bits that are known.
template <typename T>
class AttributeRows {
  public:
    explicit AttributeRows(const PackedAttributes& attributes)
        : attributes_(attributes), words_(attribute_words(attributes.k)) {
        if (attributes.weights == nullptr) {
            total_ = attributes.k > 0 ? static_cast<double>(attributes.k) : 1;
            return;
        }
        // What each of the 256 values of each byte of differing bits counts.
        share_.assign(words_ * 4 * 256, 0.0);
        for (int64_t k = 0; k < attributes.k; ++k) {
            total_ += attributes.weights[k];
            for (int value = 0; value < 256; ++value) {
                if (value >> (k % 8) & 1) share_[k / 8 * 256 + value] += attributes.weights[k];
            }
        }
        if (total_ == 0) total_ = 1;
    }

    // out[j - begin] = h(i, j) for j in [begin, end).
    FGSBIR_INLINE void distances(int64_t i, int64_t begin, int64_t end, T* out) const {
        if (attributes_.weights != nullptr) return weighted(i, begin, end, out);
        const int64_t n = end - begin;
        const T total = static_cast<T>(total_);
        if (words_ == 0) {
            for (int64_t j = 0; j < n; ++j) out[j] = 0;
        }
        for (int64_t w = 0; w < words_; ++w) {
            const uint32_t yes = a_yes(w)[i], known = a_known(w)[i];
            const uint32_t* b_yes_at = b_yes(w) + begin;
            const uint32_t* b_known_at = b_known(w) + begin;
            for (int64_t j = 0; j < n; ++j) {
                const T count = static_cast<T>(
                    static_cast<int32_t>(bits((b_yes_at[j] ^ yes) & b_known_at[j] & known)));
                out[j] = w == 0 ? count : out[j] + count;
            }
        }
        for (int64_t j = 0; j < n; ++j) out[j] /= total;
    }

  private:
    void weighted(int64_t i, int64_t begin, int64_t end, T* out) const {
        for (int64_t j = begin; j < end; ++j) {
            double h = 0;
            for (int64_t w = 0; w < words_; ++w) {
                uint32_t differing = (b_yes(w)[j] ^ a_yes(w)[i]) & b_known(w)[j] & a_known(w)[i];
                for (int64_t byte = 0; byte < 4; ++byte, differing >>= 8) {
                    h += share_[(w * 4 + byte) * 256 + (differing & 255)];
                }
            }
            out[j - begin] = static_cast<T>(h / total_);
        }
    }

    // The number of bits set, in arithmetic that every instruction set has for whole vectors. Its
    // last steps are not the usual multiplication: GCC knows that for one instruction, which takes
    // one word at a time.
    FGSBIR_INLINE static uint32_t bits(uint32_t v) {
        v -= v >> 1 & 0x55555555u;
        v = (v & 0x33333333u) + (v >> 2 & 0x33333333u);
        v = (v + (v >> 4)) & 0x0f0f0f0fu;
        v += v >> 8;
        return (v + (v >> 16)) & 63u;
    }

    const uint32_t* a_yes(int64_t w) const { return attributes_.a + w * attributes_.n; }
    const uint32_t* a_known(int64_t w) const {
        return attributes_.a + (words_ + w) * attributes_.n;
    }
    const uint32_t* b_yes(int64_t w) const { return attributes_.b + w * attributes_.m; }
    const uint32_t* b_known(int64_t w) const {
        return attributes_.b + (words_ + w) * attributes_.m;
    }

    PackedAttributes attributes_;
    int64_t words_;
    double total_ = 0;
    std::vector<double> share_;
};

}  // namespace fgsbir::cpu
