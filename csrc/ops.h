// The operations, as raw pointers and sizes: no tensor type, no allocation of results, no Python.
//
// Every array is dense and row-major; its shape stands beside it. N sketches (anchors), M photos,
// D embedding dimensions, K attributes. Inputs are const; outputs are written in full.
// T is the type distances are computed in: float or double.
#pragma once

#include <cstdint>
#include <vector>

namespace fgsbir {

// Choices, with the names that they have in Python.
enum class Metric : int { sqeuclidean, euclidean, cosine };
constexpr const char* kMetrics[] = {"sqeuclidean", "euclidean", "cosine"};
enum class AttributeMetric : int { sqeuclidean, euclidean, cross_entropy };
constexpr const char* kAttributeMetrics[] = {"sqeuclidean", "euclidean", "cross_entropy"};
enum class Reduction : int { none, sum, mean };
constexpr const char* kReductions[] = {"none", "sum", "mean"};

// The number of 32-bit words that hold one bit for each of k attributes.
constexpr int64_t attribute_words(int64_t k) {
    return (k + 31) / 32;
}

// Terms of Eq. 1, in the order in which they stand in every array of shape [kTerms, ...].
enum Term : int {
    kTriplet,
    kAttributeRank,
    kSketchAttribute,
    kPositiveAttribute,
    kNegativeAttribute,
    kTerms
};

// Distances of a chosen triplet, in the order of every array of shape [kTripletDistances, N].
enum TripletDistance : int {
    kPositive,
    kNegative,
    kPositivePredicted,
    kNegativePredicted,
    kTripletDistances
};

// The type of an array's elements, where it is known at run time only.
enum class ScalarType : int {
    float32,
    float64,
    float16,
    bfloat16,
    int8,
    int16,
    int32,
    int64,
    uint8  // also bool
};

struct MiningOptions {
    Metric metric;
    double guidance;    // beta; infinity compares attributes first, distances second
    bool exclude_self;  // photo i is no positive of sketch i
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

// The structs below are shared by both backends. E is the type of embeddings and logits, or void
// where it is known at run time only; T is that of distances.

// A batch to mine. Attributes are those of sketches and photos, as the backend reads them.
template <typename E, typename Attributes>
struct MiningOf : MiningOptions {
    const E* sketch;               // [N, D]
    const E* photo;                // [M, D]
    const int64_t* sketch_labels;  // [N], null together with photo_labels: i matches i, N = M
    const int64_t* photo_labels;   // [M]
    Attributes attributes;         // used where guidance > 0
    int64_t n, m, d;
};

// What the loss reads beside embeddings. Not given: the triplet term alone, and K is 0. (Pointers
// do not tell: those of empty arrays are null too.)
template <typename E, typename Annotation>
struct PredictionsOf {
    bool given;
    const E* sketch_logits;        // [N, K]
    const E* photo_logits;         // [M, K]
    Annotation sketch_attributes;  // [N, K] 1, 0, or anything below for unknown
    Annotation photo_attributes;   // [M, K]
    int64_t k;
};

// The chosen triplets, and what the loss saved of them for its gradients.
template <typename E, typename T>
struct ChosenTripletsOf {
    const E* sketch;          // [N, D]
    const E* photo;           // [M, D]
    const int64_t* positive;  // [N], -1 where the anchor is not valid
    const int64_t* negative;  // [N]
    const T* distances;       // [kTripletDistances, N], by TripletDistance
    const T* scale;           // [1]: 1 over the number of valid anchors for Reduction::mean, else 1
    int64_t n, m, d;
};

struct SearchOptions {
    int64_t k;
    double attribute_weight;  // mu
    Metric metric;
    AttributeMetric attribute_metric;
};

// A search for the k nearest by d + mu D. G is the type of the gallery's embeddings and logits.
template <typename E, typename G = E>
struct SearchOf : SearchOptions {
    const E* query;           // [N, D]
    const G* gallery;         // [M, D]
    const E* query_logits;    // [N, K], null without attributes
    const G* gallery_logits;  // [M, K]
    int64_t n, m, d, attributes;
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
struct PackedAttributes {
    const uint32_t* a;      // [2, words, n]
    const uint32_t* b;      // [2, words, m]
    const double* weights;  // [k], or null where all are 1
    int64_t n, m, k;
};

void attribute_distance(const PackedAttributes& attributes, float* out /* [n, m] */, int threads);

template <typename T>
using Mining = MiningOf<T, PackedAttributes>;
template <typename T>
using Predictions = PredictionsOf<T, const int8_t*>;
template <typename T>
using ChosenTriplets = ChosenTripletsOf<T, T>;

// Writes the hardest positive and negative of every sketch, -1 to both where it has not both.
template <typename T>
void mine_batch_hard(const Mining<T>& mining, int64_t* positive /* [N] */,
                     int64_t* negative /* [N] */, int threads);

// Mining, and the loss over what it chose.
template <typename T>
void attribute_triplet_loss(const Mining<T>& mining, const Predictions<T>& predictions,
                            const LossOptions& options,
                            T* total /* [N] for Reduction::none, else [1] */,
                            T* parts /* [kTerms, N] or [kTerms] */, int64_t* positive /* [N] */,
                            int64_t* negative /* [N] */, T* distances /* [kTripletDistances, N] */,
                            T* scale /* [1] */, int threads);

// The gradients of the loss, given those of total and parts (either may be null for zero).
template <typename T>
void attribute_triplet_loss_backward(const ChosenTriplets<T>& triplets,
                                     const Predictions<T>& predictions, const LossOptions& options,
                                     const T* grad_total /* as total */,
                                     const T* grad_parts /* as parts */,
                                     T* grad_sketch /* [N, D] */, T* grad_photo /* [M, D] */,
                                     T* grad_sketch_logits /* [N, K] */,
                                     T* grad_photo_logits /* [M, K] */, int threads);

// The gallery may be of a shorter type than T: bfloat16 or float16.
template <typename T>
struct Search : SearchOf<T, void> {
    ScalarType gallery_type;
};

template <typename T>
void topk(const Search<T>& search, T* values /* [N, k], ascending */, int64_t* indices /* [N, k] */,
          int threads);

}  // namespace cpu
}  // namespace fgsbir
