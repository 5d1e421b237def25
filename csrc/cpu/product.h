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
#include "stored.h"
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

// out[r, c] = x_r . y_c, or what was there plus that, with all the rows of some panels. Every sum
// has the same order, whatever stands beside it.
template <typename T>
void multiply_packed(const T* x /* [rows, x_stride] */, int64_t x_stride, int64_t rows, int64_t d,
                     const T* packed /* [panels, d, kPanel] */, int64_t panels,
                     T* out /* [rows, stride] */, int64_t stride, bool add);

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
    const T* x;   // [n, d]
    Stored<T> y;  // [m, d]
};

// One panel of y: the rows of the first pair of factors [size, d], and what is packed of the others
// [d, kPanel].
template <typename T, size_t kCount>
using Panels = std::array<const T*, kCount>;

// What distances need of the rows of y beside products, computed when these are packed.
template <typename T>
class ColumnNorms {
  public:
    ColumnNorms(int64_t m, int64_t d, Metric metric)
        : d_(d), metric_(metric), norms_(m), finite_((m + kPanel<T> - 1) / kPanel<T>) {}

    // Of one panel.
    template <size_t kCount>
    void write(int64_t first, int64_t size, const Panels<T, kCount>& panel) {
        T norms[kPanel<T>];
        run([&]() FGSBIR_INLINE {
            for (int64_t j = 0; j < size; ++j) norms[j] = norm_of(panel[0] + j * d_, d_, metric_);
        });
        set(first, size, norms);
    }

    void set(int64_t first, int64_t size, const T* norms) {
        std::copy_n(norms, size, norms_.data() + first);
        finite_[first / kPanel<T>] = all_finite(norms, size);
    }

    // Adds factor * more to those of one panel.
    void add(int64_t first, int64_t size, T factor, const T* more) {
        T* norms = norms_.data() + first;
        for (int64_t j = 0; j < size; ++j) norms[j] += factor * more[j];
        finite_[first / kPanel<T>] = all_finite(norms, size);
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
    int64_t d_;
    Metric metric_;
    std::vector<T> norms_;
    std::vector<uint8_t> finite_;
};

// The products of one row: one pointer for each pair of factors.
template <typename T, size_t kCount>
using Products = std::array<const T*, kCount>;

// The products of some pairs of factors, all with n and m rows, or the one sum of these.
template <typename T, size_t kCount, bool kSum = false>
class Product {
    static constexpr size_t kProducts = kSum ? 1 : kCount;
    using Panel = Panels<T, kCount>;

  public:
    Product(const std::array<Factors<T>, kCount>& factors, int64_t n, int64_t m, int threads)
        : factors_(factors), n_(n), m_(m) {
        for (const Factors<T>& f : factors) {
            depth_ += f.y.d;
            if (f.y.computed()) read_depth_ += f.y.d;
        }
        const int64_t bytes = std::max<int64_t>(1, depth_ * sizeof(T));
        block_ = std::clamp(kPackedBlock / bytes / kBlock * kBlock, kBlock, kWidestBlock);
        parts_ = std::clamp<int64_t>(n * m * (depth_ + kSweep) / kPart, 1, threads);
        const int64_t column = std::max<int64_t>(1, n * sizeof(T));  // bytes of products
        chunk_ = n < kGroup * parts_
                     ? std::max(kSharedProducts / column / kBlock * kBlock, kBlock)
                     : std::clamp(kPackedChunk / bytes / block_ * block_, block_, 8 * block_);
        chunk_ = std::min(chunk_, (m + kPanel<T> - 1) / kPanel<T> * kPanel<T>);
    }

    // Calls use(i, first, columns, products) until every row i has met all columns, first to
    // first + columns at a time, those of one row in ascending order. Each thread takes rows of its
    // own where there are enough; otherwise the threads share out the columns as they multiply.
    // `use` is marked FGSBIR_INLINE, and products are Products<T, kProducts>. The norms of those
    // columns are written before.
    template <typename Norms, typename Use>
    void sweep(Norms& norms, const Use& use) const {
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
    static constexpr int64_t kSharedProducts = 512 * 1024;  // bytes, of a chunk that is not packed
    static constexpr int64_t kWidestBlock = 1024;           // columns
    static constexpr int64_t kSweep = 16;                   // what use() takes, as a depth
    static constexpr int64_t kPart = 1 << 20;  // multiplications that are worth a thread
    static constexpr int64_t kFew = 8;         // rows for which packing does not pay

    // Every thread has rows of its own, a group of which meets a block that the L2 cache holds.
    template <typename Norms, typename Use>
    void share_rows(Norms& norms, const Use& use) const {
        const Scratch<T> packed(chunk_ * depth_),
            all_products(parts_ * products_size(kGroup, block_)), all_read(parts_ * read_size());
#pragma omp parallel num_threads(static_cast<int>(parts_)) if (parts_ > 1)
        {
            const int64_t part = omp_get_thread_num(), parts = omp_get_num_threads();
            T* const products = all_products.data() + part * products_size(kGroup, block_);
            T* const read = all_read.data() + part * read_size();
            for (int64_t first = 0; first < m_; first += chunk_) {
                const int64_t columns = std::min(chunk_, m_ - first);
#pragma omp for schedule(static)
                for (int64_t at = 0; at < columns; at += kPanel<T>) {
                    const int64_t size = std::min(kPanel<T>, columns - at);
                    Panel panel;
                    T* to = packed.data();
                    for (size_t f = 0; f < kCount; ++f) {
                        const int64_t d = factors_[f].y.d;
                        panel[f] = pack(f, first + at, size, read, to + at * d);
                        to += chunk_ * d;
                    }
                    norms.write(first + at, size, panel);
                }
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
    template <typename Norms, typename Use>
    void share_columns(Norms& norms, const Use& use) const {
        const int64_t packed_size = kPanel<T> * depth_;
        const Scratch<T> products(products_size(n_, chunk_)), all_packed(parts_ * packed_size),
            all_read(parts_ * read_size());
#pragma omp parallel num_threads(static_cast<int>(parts_)) if (parts_ > 1)
        {
            T* const packed = all_packed.data() + omp_get_thread_num() * packed_size;
            T* const read = all_read.data() + omp_get_thread_num() * read_size();
            for (int64_t first = 0; first < m_; first += chunk_) {
                const int64_t columns = std::min(chunk_, m_ - first);
#pragma omp for schedule(static)
                for (int64_t at = 0; at < columns; at += kPanel<T>) {
                    const int64_t size = std::min(kPanel<T>, columns - at);
                    multiply_panel(norms, first + at, size, read, packed, products.data() + at);
                }
#pragma omp for schedule(static)
                for (int64_t i = 0; i < n_; ++i) {
                    use_rows(use, i, 1, first, columns, products.data() + i * chunk_, n_, chunk_);
                }
            }
        }
    }

    // Packs the rows of y in one panel, of one pair of factors. Of the first pair the rows
    // themselves are returned, which `read` may have to hold, else what is packed.
    const T* pack(size_t f, int64_t first, int64_t size, T* read /* [read_size()] */,
                  T* packed /* [d, kPanel] */) const {
        const Stored<T>& y = factors_[f].y;
        // The rows of the first pair stay there.
        const bool after = f > 0 && factors_[0].y.computed();
        const T* rows = y.rows(first, size, after ? read + kPanel<T> * factors_[0].y.d : read);
        pack_panel(rows, size, y.d, packed);
        return f == 0 ? rows : packed;
    }

    // The products of all rows of x with one panel.
    template <typename Norms>
    void multiply_panel(Norms& norms, int64_t first, int64_t size, T* read /* [read_size()] */,
                        T* packed /* [depth_, kPanel] */,
                        T* out /* [kProducts * n_, chunk_] */) const {
        Panel panel;
        for (size_t f = 0; f < kCount; ++f) {
            const Factors<T>& pair = factors_[f];
            const int64_t d = pair.y.d;
            if (f == 0 && n_ <= kFew) {
                panel[f] = pair.y.rows(first, size, read);
                multiply_few(pair.x, n_, d, panel[f], size, out, chunk_);
            } else {
                panel[f] = pack(f, first, size, read, packed);
                multiply_packed(pair.x, d, n_, d, packed, 1, out, chunk_, kSum && f > 0);
            }
            packed += kPanel<T> * d;
            if (!kSum) out += n_ * chunk_;
        }
        norms.write(first, size, panel);
    }

    // Calls use() with rows [i, i + rows). `products` points at row i of the first pair of factors;
    // rows lie `width` apart, pairs height * width. Nothing else inlines `use`: each copy takes
    // long to compile.
    template <typename Use>
    static void use_rows(const Use& use, int64_t i, int64_t rows, int64_t first, int64_t columns,
                         const T* products, int64_t height, int64_t width) {
        run([&]() FGSBIR_INLINE {
            for (int64_t r = 0; r < rows; ++r) {
                Products<T, kProducts> of_row;
                for (size_t f = 0; f < kProducts; ++f) {
                    of_row[f] = products + (f * height + r) * width;
                }
                use(i + r, first, columns, of_row);
            }
        });
    }

    void multiply_group(int64_t row, int64_t rows, const T* packed, int64_t at, int64_t size,
                        T* products) const {
        const int64_t panels = (size + kPanel<T> - 1) / kPanel<T>;
        for (size_t f = 0; f < kCount; ++f) {
            const int64_t d = factors_[f].y.d;
            multiply_packed(factors_[f].x + row * d, d, rows, d, packed + at * d, panels, products,
                            block_, kSum && f > 0);
            packed += chunk_ * d;
            if (!kSum) products += kGroup * block_;
        }
    }

    int64_t read_size() const { return kPanel<T> * read_depth_; }
    static int64_t products_size(int64_t rows, int64_t columns) {
        return kProducts * rows * columns;
    }

    // The first row of a thread: all but the last have a multiple of 4.
    int64_t row_of(int64_t part, int64_t parts) const {
        return std::min(n_, (n_ * part / parts + 3) / 4 * 4);
    }

    std::array<Factors<T>, kCount> factors_;
    int64_t n_, m_, depth_ = 0, read_depth_ = 0, block_, chunk_, parts_;
};

}  // namespace fgsbir::cpu
