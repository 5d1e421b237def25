// The operations, as raw pointers and sizes: no tensor type, no allocation of results, no Python.
//
// Every array is dense and row-major; its shape stands beside it. N sketches (anchors), M photos,
// D embedding dimensions, K attributes. Inputs are const; outputs are written in full.
// T is the type distances are computed in: float or double.
#pragma once

#include <cstdint>
#include <vector>

namespace fgsbir {

enum class Metric : int { sqeuclidean, euclidean, cosine };
enum class AttributeMetric : int { sqeuclidean, euclidean, cross_entropy };
enum class Reduction : int { none, sum, mean };

// The number of 32-bit words that hold one bit for each of k attributes.
constexpr int64_t attribute_words(int64_t k) {
    return (k + 31) / 32;
}

// Terms of Eq. 1, in the order in which they stand in every array of shape [5, ...].
enum Term : int {
    kTriplet,
    kAttributeRank,
    kSketchAttribute,
    kPositiveAttribute,
    kNegativeAttribute,
    kTerms
};

// Distances of a chosen triplet, in the order of every array of shape [4, N].
enum TripletDistance : int {
    kPositive,
    kNegative,
    kPositivePredicted,
    kNegativePredicted,
    kTripletDistances
};

// Options of the loss. A soft margin is log(1 + exp(x)) in place of [margin + x]_+.
struct LossOptions {
    Metric metric;
    AttributeMetric attribute_metric;
    double margin;
    bool soft_margin;
    double attribute_margin;
    bool soft_attribute_margin;
    double lambda[kTerms];  // lambda[kTriplet] is 1
    Reduction reduction;
};

// What the loss is computed from, the same in forward and backward. Without logits the loss is the
// triplet term alone and K is 0. (Pointers do not tell: those of empty arrays are null too.)
template <typename T>
struct LossInputs {
    bool has_logits;
    const T* sketch;                  // [N, D]
    const T* photo;                   // [M, D]
    const T* sketch_logits;           // [N, K]
    const T* photo_logits;            // [M, K]
    const int8_t* sketch_attributes;  // [N, K] 1, 0, or anything below for unknown
    const int8_t* photo_attributes;   // [M, K]
    const int64_t* positive;          // [N], -1 where the anchor is not valid
    const int64_t* negative;          // [N]
    int64_t n, m, d, k;
};

template <typename T>
struct LossOutputs {
    T* total;      // [N] for Reduction::none, else [1]
    T* parts;      // [5, N] or [5]
    T* distances;  // [4, N]
    T* scale;      // [1]: 1 over the number of valid anchors for Reduction::mean, else 1
};

template <typename T>
struct LossGradients {
    T* sketch;         // [N, D]
    T* photo;          // [M, D]
    T* sketch_logits;  // [N, K]
    T* photo_logits;   // [M, K]
};

// The CPU operations. `threads` is the number of OpenMP threads to use.
namespace cpu {

// All distances, from inner products. What the subtraction of nearly equal numbers would spoil is
// computed anew from the rows.
template <typename T>
void pairwise_distance(const T* x /* [n, d] */, const T* y /* [m, d] */, T* out /* [n, m] */,
                       int64_t n, int64_t m, int64_t d, Metric metric, int threads);

// grad_x[i] = sum_j grad[i, j] * d distance[i, j] / d x_i. The gradient of y is that of x with the
// arguments exchanged and `transposed` set: grad and distance are then still [rows of y, of x].
template <typename T>
void pairwise_distance_backward(const T* grad /* [n, m] */, const T* distance /* [n, m] */,
                                const T* x /* [n, d] */, const T* y /* [m, d] */,
                                T* grad_x /* [n, d] */, int64_t n, int64_t m, int64_t d,
                                Metric metric, bool transposed, int threads);

// Attributes of a set as codes: the bits that are 1, then the bits that are known, of every row.
struct Codes {
    std::vector<uint32_t> words;  // [2, words, n]
    int64_t n, k;
    int64_t invalid;  // the flat index of the first value outside {-1, 0, 1}, or -1
};

template <typename A>
Codes pack_attributes(const A* attributes /* [n, k] */, int64_t n, int64_t k);

// Packed attributes of two sets, and what a difference in each attribute counts.
struct Attributes {
    const uint32_t* a;      // [2, words, n]
    const uint32_t* b;      // [2, words, m]
    const double* weights;  // [k], or null where all are 1
    int64_t n, m, k;
};

void attribute_distance(const Attributes& attributes, float* out /* [n, m] */, int threads);

// A batch to mine.
template <typename T>
struct Batch {
    const T* sketch;               // [N, D]
    const T* photo;                // [M, D]
    bool paired;                   // photo i is the one positive of sketch i;
    const int64_t* sketch_labels;  // [N] else the photos of its label are
    const int64_t* photo_labels;   // [M]
    Attributes attributes;         // used where guidance > 0
    double guidance;               // beta; infinity compares attributes first, distances second
    bool exclude_self;             // photo i is neither a positive nor a negative of sketch i
    Metric metric;
    int64_t n, m, d;
};

// Writes the hardest positive and negative of every sketch, -1 to both where it has not both.
template <typename T>
void mine_batch_hard(const Batch<T>& batch, int64_t* positive /* [N] */,
                     int64_t* negative /* [N] */, int threads);

// The loss over chosen triplets.
template <typename T>
void attribute_triplet_loss(const LossInputs<T>& inputs, const LossOptions& options,
                            const LossOutputs<T>& outputs, int threads);

// Its gradients, given those of total and parts (either may be null for zero).
template <typename T>
void attribute_triplet_loss_backward(const LossInputs<T>& inputs, const LossOptions& options,
                                     const T* grad_total /* as total */,
                                     const T* grad_parts /* as parts */,
                                     const T* distances /* [4, N] */, const T* scale /* [1] */,
                                     const LossGradients<T>& gradients, int threads);

// A search for the k nearest by d + mu D. D comes from a second product, of query and gallery
// operands: probabilities both, or for the cross entropy probabilities and logits; D = query_bias +
// gallery_bias - 2 product (its square root for euclidean), or gallery_bias - product / K for the
// cross entropy.
template <typename T>
struct Search {
    const T* query;            // [N, D]
    const T* gallery;          // [M, D]
    const T* query_logits;     // [N, K], null without attributes
    const T* gallery_logits;   // [M, K]
    const T* query_operand;    // [N, K]
    const T* gallery_operand;  // [M, K]
    const T* query_bias;       // [N]
    const T* gallery_bias;     // [M]
    double attribute_weight;   // mu
    Metric metric;
    AttributeMetric attribute_metric;
    int64_t n, m, d, attributes, k;
    T* values;         // [N, k] result, ascending
    int64_t* indices;  // [N, k] result
};

template <typename T>
void topk(const Search<T>& search, int threads);

}  // namespace cpu
}  // namespace fgsbir
