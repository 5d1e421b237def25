// Inner products of the rows of one matrix with the rows of another, handed over a few rows at a
// time while they are in the cache: no (n, m) matrix exists.
#pragma once

#include <omp.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <new>
#include <vector>

#include "../ops.h"
#include "parallel.h"
#include "rows.h"
#include "sweep.h"
#include "vec.h"

namespace fgsbir::cpu {

// Rows of x that are multiplied at once, and rows of y, which are packed as [d][kPanel].
constexpr int64_t kGroup = 12;
template <typename T>
constexpr int64_t kPanel = 2 * kLanes<T>;

// Packs up to kPanel rows; those that are missing become zeros.
template <typename T>
void pack_panel(const T* y /* [rows, d] */, int64_t rows, int64_t d, T* panel /* [d, kPanel] */);

// out[r, c] = x_r . y_c with all the rows of some panels. Every sum has the same order, whatever
// stands beside it.
template <typename T>
void multiply_packed(const T* x /* [rows, x_stride] */, int64_t x_stride, int64_t rows, int64_t d,
                     const T* packed /* [panels, d, kPanel] */, int64_t panels,
                     T* out /* [rows, stride] */, int64_t stride);

// The same without packing, for so few rows of x that it would not pay; its sums have another
// order.
template <typename T>
void multiply_few(const T* x /* [rows, d] */, int64_t rows, int64_t d,
                  const T* y /* [columns, d] */, int64_t columns, T* out /* [rows, stride] */,
                  int64_t stride);

// Memory of so many elements for vectors, not initialised.
template <typename T>
class Scratch {
  public:
    explicit Scratch(int64_t size)
        : data_(static_cast<T*>(::operator new(size * sizeof(T), std::align_val_t(64)))) {}
    ~Scratch() { ::operator delete(data_, std::align_val_t(64)); }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;

    T* data() const { return data_; }

  private:
    T* data_;
};

// Two matrices whose rows are multiplied.
template <typename T>
struct Factors {
    const T* x;  // [n, d]
    const T* y;  // [m, d]
    int64_t d;
};

// What distances need of the rows of y beside products, computed when these are packed.
template <typename T>
class ColumnNorms {
  public:
    ColumnNorms(const T* y, int64_t m, int64_t d, Metric metric)
        : y_(y), d_(d), metric_(metric), norms_(m), finite_((m + kPanel<T> - 1) / kPanel<T>) {}

    // Of the rows of one panel.
    void write(int64_t first, int64_t size) {
        run([&]() FGSBIR_INLINE {
            for (int64_t j = first; j < first + size; ++j) {
                norms_[j] = norm_of(y_ + j * d_, d_, metric_);
            }
        });
        finite_[first / kPanel<T>] = all_finite(norms_.data() + first, size);
    }

    const T* from(int64_t first) const { return norms_.data() + first; }

    // Whether none of these overflows; `first` begins a panel.
    FGSBIR_INLINE bool finite(int64_t first, int64_t columns) const {
        bool all = true;
        for (int64_t at = 0; at < columns; at += kPanel<T>)
            all &= finite_[(first + at) / kPanel<T>] != 0;
        return all;
    }

  private:
    const T* y_;
    int64_t d_;
    Metric metric_;
    std::vector<T> norms_;
    std::vector<uint8_t> finite_;
};

// The products of one row: one pointer for each pair of factors.
template <typename T, size_t kCount>
using Products = std::array<const T*, kCount>;

// The products of some pairs of factors, all with n and m rows.
template <typename T, size_t kCount>
class Product {
  public:
    Product(const std::array<Factors<T>, kCount>& factors, int64_t n, int64_t m, int threads)
        : factors_(factors), n_(n), m_(m) {
        for (const Factors<T>& f : factors) depth_ += f.d;
        const int64_t bytes = std::max<int64_t>(1, depth_ * sizeof(T));
        block_ = std::clamp(kPackedBlock / bytes / kBlock * kBlock, kBlock, kWidestBlock);
        chunk_ = std::clamp(kPackedChunk / bytes / block_ * block_, block_, 8 * block_);
        chunk_ = std::min(chunk_, (m + kPanel<T> - 1) / kPanel<T> * kPanel<T>);
        parts_ = std::clamp<int64_t>(n * m * (depth_ + kSweep) / kPart, 1, threads);
    }

    // Calls use(i, first, columns, products) until every row i has met all columns, first to
    // first + columns at a time, those of one row in ascending order. Each thread takes rows of its
    // own where there are enough; otherwise the threads share out the columns as they multiply.
    // `use` is marked FGSBIR_INLINE. The norms of those columns are written before.
    template <typename Use>
    void sweep(ColumnNorms<T>& norms, const Use& use) const {
        if (n_ < kGroup * parts_) {
            share_columns(norms, use);
        } else {
            share_rows(norms, use);
        }
    }

  private:
    // Bytes of what is packed: a block, which is to stay in a core's L2 cache, and a chunk of
    // blocks, which all threads pack together.
    static constexpr int64_t kPackedBlock = 256 * 1024, kPackedChunk = 2 * 1024 * 1024;
    static constexpr int64_t kWidestBlock = 1024;  // columns
    static constexpr int64_t kSweep = 16;          // what use() takes, as a depth
    static constexpr int64_t kPart = 1 << 20;      // multiplications that are worth a thread
    static constexpr int64_t kFew = 8;             // rows for which packing does not pay

    // Every thread has rows of its own, a group of which meets a block that the L2 cache holds.
    template <typename Use>
    void share_rows(ColumnNorms<T>& norms, const Use& use) const {
        const Scratch<T> packed(chunk_ * depth_),
            all_products(parts_ * products_size(kGroup, block_));
#pragma omp parallel num_threads(static_cast<int>(parts_)) if (parts_ > 1)
        {
            const int64_t part = omp_get_thread_num(), parts = omp_get_num_threads();
            T* const products = all_products.data() + part * products_size(kGroup, block_);
            for (int64_t first = 0; first < m_; first += chunk_) {
                const int64_t columns = std::min(chunk_, m_ - first);
                by_panels(norms, first, columns, [&](int64_t at, int64_t size) {
                    T* to = packed.data();
                    for (const Factors<T>& f : factors_) {
                        pack_panel(f.y + (first + at) * f.d, size, f.d, to + at * f.d);
                        to += chunk_ * f.d;
                    }
                });
                const int64_t end = row_of(part + 1, parts);
                for (int64_t at = 0; at < columns; at += block_) {
                    const int64_t size = std::min(block_, columns - at);
                    for (int64_t row = row_of(part, parts); row < end; row += kGroup) {
                        const int64_t rows = std::min(kGroup, end - row);
                        multiply_group(row, rows, packed.data(), at, size, products);
                        use_rows(use, row, rows, first + at, size, products, kGroup, block_);
                    }
                }
#pragma omp barrier
            }
        }
    }

    // Threads share out the columns, and then the rows.
    template <typename Use>
    void share_columns(ColumnNorms<T>& norms, const Use& use) const {
        const int64_t panel_size = n_ <= kFew ? 0 : kPanel<T> * depth_;
        const Scratch<T> products(products_size(n_, chunk_)), panels(parts_ * panel_size);
#pragma omp parallel num_threads(static_cast<int>(parts_)) if (parts_ > 1)
        {
            T* const panel = panels.data() + omp_get_thread_num() * panel_size;
            for (int64_t first = 0; first < m_; first += chunk_) {
                const int64_t columns = std::min(chunk_, m_ - first);
                by_panels(norms, first, columns, [&](int64_t at, int64_t size) {
                    T* out = products.data() + at;
                    for (const Factors<T>& f : factors_) {
                        const T* y = f.y + (first + at) * f.d;
                        if (n_ <= kFew) {
                            multiply_few(f.x, n_, f.d, y, size, out, chunk_);
                        } else {
                            pack_panel(y, size, f.d, panel);
                            multiply_packed(f.x, f.d, n_, f.d, panel, 1, out, chunk_);
                        }
                        out += n_ * chunk_;
                    }
                });
#pragma omp for schedule(static)
                for (int64_t i = 0; i < n_; ++i) {
                    use_rows(use, i, 1, first, columns, products.data() + i * chunk_, n_, chunk_);
                }
            }
        }
    }

    // Calls use() with rows [i, i + rows). `products` points at row i of the first pair of factors;
    // rows lie `width` apart, pairs height * width. Nothing else inlines `use`: each copy takes
    // long to compile.
    template <typename Use>
    static void use_rows(const Use& use, int64_t i, int64_t rows, int64_t first, int64_t columns,
                         const T* products, int64_t height, int64_t width) {
        run([&]() FGSBIR_INLINE {
            for (int64_t r = 0; r < rows; ++r) {
                Products<T, kCount> of_row;
                for (size_t f = 0; f < kCount; ++f) of_row[f] = products + (f * height + r) * width;
                use(i + r, first, columns, of_row);
            }
        });
    }

    // Shares the panels of a chunk out among the threads that are here, and waits for all of them.
    template <typename Work>
    void by_panels(ColumnNorms<T>& norms, int64_t first, int64_t columns, const Work& work) const {
#pragma omp for schedule(static)
        for (int64_t at = 0; at < columns; at += kPanel<T>) {
            const int64_t size = std::min(kPanel<T>, columns - at);
            norms.write(first + at, size);
            work(at, size);
        }
    }

    void multiply_group(int64_t row, int64_t rows, const T* packed, int64_t at, int64_t size,
                        T* products) const {
        const int64_t panels = (size + kPanel<T> - 1) / kPanel<T>;
        for (const Factors<T>& f : factors_) {
            multiply_packed(f.x + row * f.d, f.d, rows, f.d, packed + at * f.d, panels, products,
                            block_);
            packed += chunk_ * f.d;
            products += kGroup * block_;
        }
    }

    static int64_t products_size(int64_t rows, int64_t columns) { return kCount * rows * columns; }

    // The first row of a thread: all but the last have a multiple of 4.
    int64_t row_of(int64_t part, int64_t parts) const {
        return std::min(n_, (n_ * part / parts + 3) / 4 * 4);
    }

    std::array<Factors<T>, kCount> factors_;
    int64_t n_, m_, depth_ = 0, block_, chunk_, parts_;
};

}  // namespace fgsbir::cpu
