// The operations on CUDA, as device pointers, sizes and a stream: no tensor type, no Python.
//
// Conventions of ops.h. In addition: every function only launches, on the given stream of the
// current device, and returns before the work is done; it neither waits, nor allocates, nor reads
// device memory, and may be captured in a CUDA graph. `workspace` is device memory of as many bytes
// as the function of the same name ending in _workspace says while the same device is current; its
// content is of no meaning before or after. An error of a launch throws std::runtime_error.
//
// Pointers to embeddings, logits and their gradients are of `type`: float32, float64, float16 or
// bfloat16. Distances, losses and incoming gradients are of the type that is computed in, called T
// below: float64 for float64, else float32.
#pragma once

#include "ops.h"

struct CUstream_st;

namespace fgsbir::cuda {

using Stream = CUstream_st*;

// An array of any scalar type; data is null where it was not given.
struct Array {
    const void* data;
    ScalarType type;
};

// The highest CUDA version of this machine's driver, as 1000 major + 10 minor; 0 without a driver.
int driver_version();

// --- Distances -----------------------------------------------------------------------------------

int64_t pairwise_distance_workspace(ScalarType type, int64_t n, int64_t m, Metric metric);

void pairwise_distance(ScalarType type, const void* x /* [n, d] */, const void* y /* [m, d] */,
                       void* distance /* [n, m] T */, int64_t n, int64_t m, int64_t d,
                       Metric metric, void* workspace, Stream stream);

int64_t pairwise_distance_backward_workspace(ScalarType type, int64_t n, int64_t m, int64_t d,
                                             Metric metric);

void pairwise_distance_backward(ScalarType type, const void* grad /* [n, m] T */,
                                const void* distance /* [n, m] T */, const void* x /* [n, d] */,
                                const void* y /* [m, d] */, void* grad_x /* [n, d] */,
                                void* grad_y /* [m, d] */, int64_t n, int64_t m, int64_t d,
                                Metric metric, void* workspace, Stream stream);

// Annotated attributes of two sets: above 0 yes, 0 no, below 0 or NaN unknown.
struct Attributes {
    Array a;        // [n, k]
    Array b;        // [m, k]
    Array weights;  // [k], or null where all are 1
    int64_t k;
};

int64_t attribute_distance_workspace(const Attributes& attributes, int64_t n, int64_t m);

void attribute_distance(const Attributes& attributes, float* distance /* [n, m] */, int64_t n,
                        int64_t m, void* workspace, Stream stream);

// --- Triplets ------------------------------------------------------------------------------------

struct Mining : MiningOf<void, Attributes> {
    ScalarType type;
};

int64_t mine_batch_hard_workspace(const Mining& mining);

// At most 4 launches.
void mine_batch_hard(const Mining& mining, int64_t* positive /* [N], -1 where not valid */,
                     int64_t* negative /* [N] */, void* workspace, Stream stream);

// --- Loss ----------------------------------------------------------------------------------------

using Predictions = PredictionsOf<void, Array>;

int64_t attribute_triplet_loss_workspace(const Mining& mining);

// Mining and the loss over what it chose; at most 5 launches.
void attribute_triplet_loss(const Mining& mining, const Predictions& predictions,
                            const LossOptions& options,
                            void* total /* [N] T for Reduction::none, else [1] */,
                            void* parts /* [kTerms, N] T or [kTerms] */,
                            int64_t* positive /* [N] */, int64_t* negative /* [N] */,
                            void* distances /* [kTripletDistances, N] T */, void* scale /* [1] T */,
                            void* workspace, Stream stream);

struct ChosenTriplets : ChosenTripletsOf<void, void> {
    ScalarType type;
};

int64_t attribute_triplet_loss_backward_workspace(const ChosenTriplets& triplets);

// 2 launches. The incoming gradients may be null for zero, those of the logits where there are
// none.
void attribute_triplet_loss_backward(const ChosenTriplets& triplets, const Predictions& predictions,
                                     const LossOptions& options,
                                     const void* grad_total /* T, as total */,
                                     const void* grad_parts /* T, as parts */,
                                     void* grad_sketch /* [N, D] */, void* grad_photo /* [M, D] */,
                                     void* grad_sketch_logits /* [N, K] */,
                                     void* grad_photo_logits /* [M, K] */, void* workspace,
                                     Stream stream);

// --- Search --------------------------------------------------------------------------------------

constexpr int64_t kMaxTopK = 1024;

// k <= kMaxTopK.
struct Search : SearchOf<void> {
    ScalarType type;
};

int64_t topk_workspace(const Search& search);

// 3 launches, 5 with attributes.
void topk(const Search& search, void* values /* [N, k] T, ascending */,
          int64_t* indices /* [N, k] */, void* workspace, Stream stream);

}  // namespace fgsbir::cuda
