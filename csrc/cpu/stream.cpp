// A search by few queries. What takes the time is memory: photos are read once, norms are summed
// beside products, nothing is packed, and attributes are looked at only where embeddings are near
// enough. Every thread keeps the nearest among photos of its own, and waits for no other until all
// are read.

#include "stream.h"

#include <omp.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "../ops.h"
#include "product.h"
#include "stored.h"
#include "sweep.h"
#include "vec.h"

namespace fgsbir::cpu {
namespace {

// (x, y), and |y|^2.
template <typename T, typename E>
FGSBIR_INLINE inline T product_and_square(const T* x, const E* y, int64_t d, T& square) {
    Vec<T> products[2] = {}, squares[2] = {};
    int64_t k = 0;
    for (; k + 2 * kLanes<T> <= d; k += 2 * kLanes<T>) {
        for (int64_t v = 0; v < 2; ++v) {
            const Vec<T> own = load(x + k + v * kLanes<T>);
            const Vec<T> other = load_as<T>(y + k + v * kLanes<T>);
            products[v] += own * other;
            squares[v] += other * other;
        }
    }
    T product = sum<T>(products[0] + products[1]);
    square = sum<T>(squares[0] + squares[1]);
    for (; k < d; ++k) {
        const T other = static_cast<T>(y[k]);
        product += x[k] * other;
        square += other * other;
    }
    return product;
}

// One thread's part of a search.
//
// The attributes of a block are looked at while the next one is read: their sigmoids are computed
// by turns with products, which wait for memory.
template <typename T>
class Stream {
  public:
    Stream(const State<T>& search, const Nearest<T>& nearest)
        : search_(search),
          nearest_(nearest),
          photo_operand_(search.photo_operand()),
          row_(search.d),
          operands_(kBlock * search.attributes),
          packed_(kPanel<T> * search.attributes),
          products_(3 * search.n * kBlock) {
        met_->products = products_.data();
        pending_->products = met_->products + search.n * kBlock;
        predicted_ = pending_->products + search.n * kBlock;
    }

    // The next photos, from `first`, at most kBlock.
    FGSBIR_INLINE void meet(int64_t first, int64_t size) {
        met_->first = first;
        met_->size = size;
        look_at_pending();
        met_->finite = all_finite(met_->norms, size);
        offer_pending();
        if (search_.attributes == 0) {
            for (int64_t i = 0; i < search_.n; ++i) {
                offer_block(search_, i, block_of(*met_, i), nearest_.of(i));
            }
        } else {
            met_->far = is_far();
            std::swap(met_, pending_);
        }
    }

    // After the last photos.
    FGSBIR_INLINE void finish() {
        met_->size = 0;
        look_at_pending();
        offer_pending();
    }

  private:
    static constexpr int64_t kTurn = 4;  // photos

    // Photos whose embeddings have been read.
    struct Met {
        int64_t first = 0, size = 0;
        T* products;         // [N, kBlock]
        bool finite = true;  // as in Block
        bool far = false;    // whether attributes cannot bring one of them near
        alignas(64) T norms[kBlock];
    };

    FGSBIR_INLINE Block<T> block_of(const Met& met, int64_t i) const {
        const bool finite = met.finite && all_finite(&search_.query_norms[i], 1);
        return {met.first, met.size, met.products + i * kBlock, met.norms, finite, nullptr,
                nullptr,   false};
    }

    // A turn of the photos that are met.
    FGSBIR_INLINE void multiply(int64_t at) {
        const int64_t d = search_.d, end = std::min(at + kTurn, met_->size);
        for (int64_t j = at; j < end; ++j) {
            search_.photos.visit(met_->first + j, [&](const auto* photo) FGSBIR_INLINE {
                T square;
                met_->products[j] = product_and_square(search_.query, photo, d, square);
                met_->norms[j] = search_.metric == Metric::cosine ? inverse_root(square) : square;
            });
            if (search_.n == 1) continue;
            const T* photo = search_.photos.rows_here(met_->first + j, 1, row_.data());
            for (int64_t i = 1; i < search_.n; ++i) {
                const T* query = search_.query + i * d;
                met_->products[i * kBlock + j] = sum_over<T>(
                    d, [=](int64_t k) FGSBIR_INLINE { return load(query + k) * load(photo + k); },
                    [=](int64_t k) FGSBIR_INLINE { return query[k] * photo[k]; });
            }
        }
    }

    // Whether attributes of the photos that are met cannot bring one of them near, if they are
    // numbers.
    FGSBIR_INLINE bool is_far() const {
        bool far = !search_.by_cross_entropy();
        for (int64_t i = 0; i < search_.n; ++i) {
            far &= !may_be_nearer(search_, i, block_of(*met_, i), nearest_.of(i).values[0]);
        }
        return far;
    }

    // Multiplies the photos that are met, and reads attributes of the pending ones meanwhile.
    FGSBIR_INLINE void look_at_pending() {
        if (pending_->far) {
            bool have_nan = false;  // which is nearer than anything
            by_turns([&](int64_t first, int64_t count) FGSBIR_INLINE {
                have_nan |= search_.photo_logits.have_nan(pending_->first + first, count);
            });
            if (!have_nan) return;
            pending_->far = false;
            read_operands(0, pending_->size);
        } else {
            by_turns([&](int64_t first, int64_t count)
                         FGSBIR_INLINE { read_operands(first, count); });
        }
    }

    // look(first, count) is of pending photos.
    template <typename Look>
    FGSBIR_INLINE void by_turns(const Look& look) {
        const int64_t met = met_->size, pending = pending_->size;
        for (int64_t at = 0; at < std::max(met, pending); at += kTurn) {
            multiply(at);
            if (at < pending) look(at, std::min(kTurn, pending - at));
        }
    }

    FGSBIR_INLINE void read_operands(int64_t first, int64_t count) {
        if (!photo_operand_.computed()) return;
        photo_operand_.rows_here(pending_->first + first, count,
                                 operands_.data() + first * search_.attributes);
    }

    FGSBIR_INLINE void offer_pending() {
        const int64_t size = std::exchange(pending_->size, 0);
        if (size == 0 || pending_->far) return;
        multiply_predictions(size);
        const bool finite = all_finite(biases_, size);
        for (int64_t i = 0; i < search_.n; ++i) {
            Block<T> block = block_of(*pending_, i);
            block.size = size;
            block.predicted = predicted_ + i * kBlock;
            block.biases = biases_;
            block.finite_biases = finite;
            offer_block(search_, i, block, nearest_.of(i));
        }
    }

    // Products of predictions with the operands of the pending photos, and the biases of these.
    FGSBIR_INLINE void multiply_predictions(int64_t size) {
        const int64_t n = search_.n, k = search_.attributes;
        const T* operands = photo_operand_.computed()
                                ? operands_.data()
                                : photo_operand_.rows_here(pending_->first, size, nullptr);
        for (int64_t at = 0; at < size; at += kPanel<T>) {
            pack_panel(operands + at * k, std::min(kPanel<T>, size - at), k, packed_.data());
            write_photo_biases(search_, packed_.data(), biases_ + at);
            for (int64_t i = 0; i < n; ++i) {
                const T* const own = search_.predictions.data() + i * k;
                Vec<T> low = {}, high = {};
                for (int64_t a = 0; a < k; ++a) {
                    const T* const operand = packed_.data() + a * kPanel<T>;
                    low += own[a] * load(operand);
                    high += own[a] * load(operand + kLanes<T>);
                }
                store(predicted_ + i * kBlock + at, low);
                store(predicted_ + i * kBlock + at + kLanes<T>, high);
            }
        }
    }

    const State<T>& search_;
    const Nearest<T> nearest_;
    const Stored<T> photo_operand_;
    const Scratch<T> row_, operands_, packed_, products_;
    Met blocks_[2];
    Met *met_ = &blocks_[0], *pending_ = &blocks_[1];
    T* predicted_;  // [N, kBlock]
    alignas(64) T biases_[kBlock];
};

}  // namespace

template <typename T>
void search_stream(const State<T>& search, const Nearest<T>& nearest, int threads) {
    const int64_t n = search.n, m = search.m, kept = n * nearest.size;
    constexpr int64_t kPart = 1 << 20;  // multiplications that are worth a thread
    const int64_t parts =
        std::clamp<int64_t>(n * m * (search.d + search.attributes + 16) / kPart, 1, threads);
    // Photos that a thread takes at a time.
    const int64_t share = std::clamp<int64_t>(m / (8 * parts) / kBlock, 1, 64) * kBlock;
    const Scratch<T> values((parts - 1) * kept);
    std::vector<int64_t> indices((parts - 1) * kept);
    // The first part keeps what it finds in the result.
    const auto of_part = [&](int64_t part) {
        if (part == 0) return nearest;
        return Nearest<T>{values.data() + (part - 1) * kept, indices.data() + (part - 1) * kept,
                          nearest.size};
    };
#pragma omp parallel num_threads(static_cast<int>(parts)) if (parts > 1)
    {
        const int64_t part = omp_get_thread_num(), team = omp_get_num_threads();
        of_part(part).clear(n);
        Stream<T> stream(search, of_part(part));
// In ascending order in each thread, so that of equal distances the first is kept.
#pragma omp for schedule(monotonic : dynamic)
        for (int64_t begin = 0; begin < m; begin += share) {
            run([&]() FGSBIR_INLINE {
                const int64_t end = std::min(m, begin + share);
                for (int64_t at = begin; at < end; at += kBlock) {
                    stream.meet(at, std::min(kBlock, end - at));
                }
                stream.finish();
            });
        }
#pragma omp for schedule(static)
        for (int64_t i = 0; i < n; ++i) {
            for (int64_t other = 1; other < team; ++other) {
                const Nearest<T> found = of_part(other).of(i);
                for (int64_t r = 0; r < found.size; ++r) {
                    nearest.of(i).offer(found.values[r], found.indices[r]);
                }
            }
        }
    }
}

#define FGSBIR_INSTANTIATE(T) template void search_stream(const State<T>&, const Nearest<T>&, int);
FGSBIR_INSTANTIATE(float)
FGSBIR_INSTANTIATE(double)
#undef FGSBIR_INSTANTIATE

}  // namespace fgsbir::cpu
