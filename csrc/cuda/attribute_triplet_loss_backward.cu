// The four gradients of Eq. 1, from the chosen triplets and the distances that forward saved.
//
// Launch 1, one warp an anchor: what each of its two references weighs, and the gradients of its
// sketch row. Beside it, in further blocks, references are sorted by photo (references.cuh).
// Launch 2, one warp a photo: its references in their fixed order. Of a photo with many references
// each of the block's warps takes every fourth, and partial sums are added warp by warp. No two
// write the same row, so nothing is added atomically and the bits are the same every time. Memory
// traffic: an anchor reads three rows and writes one; a photo reads its own row and one sketch row
// a reference, and writes one. References that weigh 0, their hinges not being active, are skipped.
//
// Limits: N < 2^30.

#include "metric.cuh"
#include "predictions.cuh"
#include "references.cuh"

namespace fgsbir::cuda {
namespace {

template <typename S>
struct BackwardArguments {
    using T = Compute<S>;

    const S* sketch;  // [N, D]
    const S* photo;   // [M, D]
    PredictionRows<S> predictions;
    LossOptions options;
    const T* grad_total;  // [N] or [1], or null
    const T* grad_parts;  // [kTerms, N] or [kTerms], or null
    const T* distances;   // [kTripletDistances, N]
    const T* scale;       // [1]
    References references;
    T* embedding_weights;   // [2N] what a reference multiplies s - p with
    T* attribute_weights;   // [2N] the same for probabilities
    T* prediction_weights;  // [2N] what it multiplies the cross-entropy's gradient with
    T* sketch_scales;       // [N] inverse norms, where rows are units
    S* grad_sketch;         // [N, D]
    S* grad_photo;          // [M, D]
    S* grad_sketch_logits;  // [N, K]
    S* grad_photo_logits;   // [M, K]
    int64_t n, m, d, anchor_blocks;

    // The gradient that reaches a term of an anchor.
    __device__ T of_term(int64_t i, int term) const {
        const bool per_anchor = options.reduction == Reduction::none;
        T grad = 0;
        if (grad_total != nullptr) {
            grad += grad_total[per_anchor ? i : 0] * static_cast<T>(options.lambda[term]);
        }
        if (grad_parts != nullptr) grad += grad_parts[per_anchor ? term * n + i : term];
        return grad * *scale;
    }
    __device__ T distance(int64_t i, int which) const { return distances[which * n + i]; }

    // The gradients that reach the distances of an anchor.
    __device__ void of_distances(int64_t i, T (&grad)[kTripletDistances]) const {
        T own[kTripletDistances];
#pragma unroll
        for (int t = 0; t < kTripletDistances; ++t) own[t] = distance(i, t);
        ranking_gradients(own, options, [&](Term term) { return of_term(i, term); }, grad);
    }
};

// 1 / |row|, or 0 for the zero row; in every lane.
template <typename S>
__device__ Compute<S> inverse_norm(const S* row, int64_t d) {
    Compute<S> squared = 0;
    for (int64_t k = threadIdx.x % kWarp; k < d; k += kWarp) {
        const Compute<S> value = to_compute(row[k]);
        squared += value * value;
    }
    return inverse_norm_of(warp_sum(squared));
}

// --- Launch 1: anchors ---------------------------------------------------------------------------

template <typename S>
__device__ void sketch_gradient(const BackwardArguments<S>& in, int64_t i, int64_t positive,
                                int64_t negative) {
    using T = Compute<S>;
    const int lane = threadIdx.x % kWarp;
    const Metric metric = in.options.metric;
    const bool unit_rows = has_unit_rows(metric);
    const S* s = in.sketch + i * in.d;
    const S* p = in.photo + positive * in.d;
    const S* q = in.photo + negative * in.d;
    const T to_positive = in.distance(i, kPositive), to_negative = in.distance(i, kNegative);
    T of_distance[kTripletDistances];
    in.of_distances(i, of_distance);
    T p_weight = slope(of_distance[kPositive], to_positive, metric);
    T q_weight = slope(of_distance[kNegative], to_negative, metric);
    T s_scale = 1, p_scale = 1, q_scale = 1;
    if (unit_rows) {  // a zero vector is at a constant distance from everything
        s_scale = inverse_norm(s, in.d);
        p_scale = inverse_norm(p, in.d);
        q_scale = inverse_norm(q, in.d);
        if (s_scale == 0 || p_scale == 0) p_weight = 0;
        if (s_scale == 0 || q_scale == 0) q_weight = 0;
    }
    if (lane == 0) {
        in.embedding_weights[i] = p_weight;
        in.embedding_weights[in.n + i] = q_weight;
        in.sketch_scales[i] = s_scale;
    }
    for (int64_t k = lane; k < in.d; k += kWarp) {
        const T own = product(to_compute(s[k]), s_scale);
        // Only the part of a difference of unit vectors that is across s turns s.
        const T p_along = unit_rows ? along(to_positive, metric) * own : T(0);
        const T q_along = unit_rows ? along(to_negative, metric) * own : T(0);
        T grad = 0;
        if (p_weight != 0) grad += p_weight * (own - product(to_compute(p[k]), p_scale) - p_along);
        if (q_weight != 0) grad += q_weight * (own - product(to_compute(q[k]), q_scale) - q_along);
        store(in.grad_sketch + i * in.d + k, grad * s_scale);
    }
}

template <typename S>
__device__ void sketch_logits_gradient(const BackwardArguments<S>& in, int64_t i, int64_t positive,
                                       int64_t negative) {
    using T = Compute<S>;
    const int lane = threadIdx.x % kWarp;
    const auto& rows = in.predictions;
    const AttributeMetric metric = in.options.attribute_metric;
    const T to_positive = in.distance(i, kPositivePredicted);
    const T to_negative = in.distance(i, kNegativePredicted);
    T of_distance[kTripletDistances];
    in.of_distances(i, of_distance);
    const T p_weight =
        attribute_slope(of_distance[kPositivePredicted], to_positive, rows.k, metric);
    const T q_weight =
        attribute_slope(of_distance[kNegativePredicted], to_negative, rows.k, metric);
    if (lane == 0) {
        in.attribute_weights[i] = p_weight;
        in.attribute_weights[in.n + i] = q_weight;
        in.prediction_weights[i] = in.of_term(i, kPositiveAttribute);
        in.prediction_weights[in.n + i] = in.of_term(i, kNegativeAttribute);
    }

    int known = 0;
    for (int64_t k = lane; k < rows.k; k += kWarp) {
        known += rows.sketch_answer(i, k) != Answer::unknown;
    }
    known = warp_sum(known);
    const T of_known = in.of_term(i, kSketchAttribute) / static_cast<T>(max(known, 1));

    for (int64_t k = lane; k < rows.k; k += kWarp) {
        const T s = rows.sketch(i, k), p = rows.photo(positive, k), q = rows.photo(negative, k);
        const Probability<T> a = probability(s);
        const bool linear = metric == AttributeMetric::cross_entropy;
        T grad = 0;
        if (p_weight != 0) grad += p_weight * (linear ? -p : a.yes - probability(p).yes);
        if (q_weight != 0) grad += q_weight * (linear ? -q : a.yes - probability(q).yes);
        grad *= a.slope();
        const Answer answer = rows.sketch_answer(i, k);
        if (answer != Answer::unknown) grad += of_known * cross_entropy_slope(s, answer);
        store(in.grad_sketch_logits + i * rows.k + k, grad);
    }
}

template <typename S>
__device__ void fill_zero(S* row, int64_t count) {
    for (int64_t k = threadIdx.x % kWarp; k < count; k += kWarp) store(row + k, 0);
}

template <typename S>
__global__ void __launch_bounds__(kSortWarps* kWarp)
    gradients_of_anchors(const BackwardArguments<S> in) {
    if (blockIdx.x >= in.anchor_blocks) {
        sort_references(in.references, blockIdx.x - in.anchor_blocks, shared_memory<SortMemory>());
        return;
    }
    const int64_t i = static_cast<int64_t>(blockIdx.x) * kSortWarps + threadIdx.x / kWarp;
    if (i >= in.n) return;
    const int64_t positive = in.references.positive[i], negative = in.references.negative[i];
    if (positive < 0) {
        fill_zero(in.grad_sketch + i * in.d, in.d);
        if (in.predictions.given) {
            fill_zero(in.grad_sketch_logits + i * in.predictions.k, in.predictions.k);
        }
        return;
    }
    sketch_gradient(in, i, positive, negative);
    if (in.predictions.given) sketch_logits_gradient(in, i, positive, negative);
}

// --- Launch 2: photos ----------------------------------------------------------------------------

constexpr int kPhotoWarps = 4;
constexpr int kPhotoThreads = kPhotoWarps * kWarp;
constexpr int kEmbeddingSpan = 8;  // dimensions of a lane at a time,
constexpr int kLogitSpan = 2;      // and attributes, of which there are fewer
constexpr int kFew = 16;           // references that one warp adds up

template <typename T>
struct PhotoMemory {
    T partial[kPhotoWarps][kEmbeddingSpan * kWarp];
    T scalar[kPhotoWarps];
};

// The references to one photo.
struct Chosen {
    const int64_t* first;
    int64_t count, n;

    __device__ int64_t reference(int64_t at) const { return first[at]; }
    __device__ int64_t anchor(int64_t r) const { return r < n ? r : r - n; }
};

// The sum of value(reference), in every thread of the block, or kByWarp of a warp that calls this.
template <bool kByWarp, typename T, typename Value>
__device__ T sum_of_references(const Chosen& chosen, PhotoMemory<T>& memory, Value value) {
    T sum = 0;
    const int first = kByWarp ? threadIdx.x % kWarp : threadIdx.x;
    for (int64_t at = first; at < chosen.count; at += kByWarp ? kWarp : kPhotoThreads) {
        sum += value(chosen.reference(at));
    }
    sum = warp_sum(sum);
    if (kByWarp) return sum;
    if (threadIdx.x % kWarp == 0) memory.scalar[threadIdx.x / kWarp] = sum;
    __syncthreads();  // publishes the sums of the warps
    T total = 0;
    for (int w = 0; w < kPhotoWarps; ++w) total += memory.scalar[w];
    __syncthreads();  // frees the sums for the next call
    return total;
}

// write(k, sum over references r of weights[r] * (own(k) - other(anchor of r, k))) for k < width.
template <bool kByWarp, int kSpan, typename T, typename Own, typename Other, typename Write>
__device__ void sum_differences(const Chosen& chosen, const T* weights, int64_t width,
                                PhotoMemory<T>& memory, Own own, Other other, Write write) {
    constexpr int kWarps = kByWarp ? 1 : kPhotoWarps;
    // The rows of several references are loaded at once where there are many.
    constexpr int kAtOnce = kByWarp ? 1 : 2;
    const int warp = kByWarp ? 0 : threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
    for (int64_t first = 0; first < width; first += kSpan * kWarp) {
        T values[kSpan], sums[kSpan] = {};
#pragma unroll
        for (int v = 0; v < kSpan; ++v) {
            const int64_t k = first + v * kWarp + lane;
            values[v] = k < width ? own(k) : T(0);
        }
        for (int64_t at = warp; at < chosen.count; at += kAtOnce * kWarps) {
            int64_t anchors[kAtOnce];
            T factors[kAtOnce], others[kAtOnce][kSpan] = {};
#pragma unroll
            for (int b = 0; b < kAtOnce; ++b) {
                const bool exists = at + b * kWarps < chosen.count;
                const int64_t r = chosen.reference(exists ? at + b * kWarps : at);
                anchors[b] = chosen.anchor(r);
                factors[b] = exists ? weights[r] : T(0);
            }
#pragma unroll
            for (int b = 0; b < kAtOnce; ++b) {
#pragma unroll
                for (int v = 0; v < kSpan; ++v) {
                    const int64_t k = first + v * kWarp + lane;
                    if (k < width && factors[b] != 0) others[b][v] = other(anchors[b], k);
                }
            }
#pragma unroll
            for (int b = 0; b < kAtOnce; ++b) {
                if (factors[b] == 0) continue;
#pragma unroll
                for (int v = 0; v < kSpan; ++v) sums[v] += factors[b] * (values[v] - others[b][v]);
            }
        }
        if constexpr (kByWarp) {
#pragma unroll
            for (int v = 0; v < kSpan; ++v) {
                const int64_t k = first + v * kWarp + lane;
                if (k < width) write(k, sums[v]);
            }
        } else {
#pragma unroll
            for (int v = 0; v < kSpan; ++v) memory.partial[warp][v * kWarp + lane] = sums[v];
            __syncthreads();  // publishes the sums of the warps
            for (int k = threadIdx.x; k < kSpan * kWarp && first + k < width; k += kPhotoThreads) {
                T total = 0;
                for (int w = 0; w < kPhotoWarps; ++w) total += memory.partial[w][k];
                write(first + k, total);
            }
            __syncthreads();  // frees them for the next span
        }
    }
}

template <bool kByWarp, typename S>
__device__ void photo_gradient(const BackwardArguments<S>& in, int64_t j, const Chosen& chosen,
                               PhotoMemory<Compute<S>>& memory) {
    using T = Compute<S>;
    const Metric metric = in.options.metric;
    const bool unit_rows = has_unit_rows(metric);
    const S* p = in.photo + j * in.d;
    const T scale = unit_rows ? inverse_norm(p, in.d) : T(1);
    T all_along = 0;
    if (unit_rows) {
        all_along = sum_of_references<kByWarp>(chosen, memory, [&](int64_t r) {
            const T weight = in.embedding_weights[r];
            const T distance = in.distances[kPositive * in.n + r];
            return weight == 0 ? T(0) : weight * along(distance, metric);
        });
    }
    const auto own = [&](int64_t k) { return product(to_compute(p[k]), scale); };
    sum_differences<kByWarp, kEmbeddingSpan>(
        chosen, in.embedding_weights, in.d, memory, own,
        [&](int64_t i, int64_t k) {
            const T value = to_compute(in.sketch[i * in.d + k]);
            return unit_rows ? product(value, in.sketch_scales[i]) : value;
        },
        [&](int64_t k, T sum) {
            store(in.grad_photo + j * in.d + k,
                  (unit_rows ? sum - all_along * own(k) : sum) * scale);
        });
}

template <bool kByWarp, typename S>
__device__ void photo_logits_gradient(const BackwardArguments<S>& in, int64_t j,
                                      const Chosen& chosen, PhotoMemory<Compute<S>>& memory) {
    using T = Compute<S>;
    const auto& rows = in.predictions;
    int known = 0;
    for (int64_t k = threadIdx.x % kWarp; k < rows.k; k += kWarp) {
        known += rows.photo_answer(j, k) != Answer::unknown;
    }
    known = warp_sum(known);
    const T of_known = sum_of_references<kByWarp>(
                           chosen, memory, [&](int64_t r) { return in.prediction_weights[r]; }) /
                       static_cast<T>(max(known, 1));
    const bool linear = in.options.attribute_metric == AttributeMetric::cross_entropy;
    sum_differences<kByWarp, kLogitSpan>(
        chosen, in.attribute_weights, rows.k, memory,
        [&](int64_t k) { return probability(rows.photo(j, k)).yes; },
        [&](int64_t i, int64_t k) { return probability(rows.sketch(i, k)).yes; },
        [&](int64_t k, T sum) {
            const T y = rows.photo(j, k);
            T grad = linear ? sum : sum * probability(y).slope();
            const Answer answer = rows.photo_answer(j, k);
            if (answer != Answer::unknown) grad += of_known * cross_entropy_slope(y, answer);
            store(in.grad_photo_logits + j * rows.k + k, grad);
        });
}

template <bool kByWarp, typename S>
__device__ void photo_gradients(const BackwardArguments<S>& in, int64_t j, const Chosen& chosen,
                                PhotoMemory<Compute<S>>& memory) {
    photo_gradient<kByWarp>(in, j, chosen, memory);
    if (in.predictions.given) photo_logits_gradient<kByWarp>(in, j, chosen, memory);
}

template <typename S>
__global__ void __launch_bounds__(kPhotoThreads, sizeof(Compute<S>) == 8 ? 3 : 5)
    gradients_of_photos(const BackwardArguments<S> in) {
    auto& memory = shared_memory<PhotoMemory<Compute<S>>>();
    const int64_t first = static_cast<int64_t>(blockIdx.x) * kPhotoWarps;
    const auto chosen_by = [&](int64_t j) {
        const int64_t begin = in.references.begin[j];
        return Chosen{in.references.sorted + begin, in.references.begin[j + 1] - begin, in.n};
    };
    const int64_t own = first + threadIdx.x / kWarp;
    if (own < in.m) {
        const Chosen chosen = chosen_by(own);
        if (chosen.count == 0) {
            fill_zero(in.grad_photo + own * in.d, in.d);
            if (in.predictions.given) {
                fill_zero(in.grad_photo_logits + own * in.predictions.k, in.predictions.k);
            }
        } else if (chosen.count <= kFew) {
            photo_gradients<true>(in, own, chosen, memory);
        }
    }
    for (int64_t j = first; j < min(first + kPhotoWarps, in.m); ++j) {
        const Chosen chosen = chosen_by(j);
        if (chosen.count > kFew) photo_gradients<false>(in, j, chosen, memory);
    }
}

template <typename T>
struct BackwardScratch {
    int64_t* begin;   // [M + 1]
    int64_t* sorted;  // [2N]
    T* embedding_weights;
    T* attribute_weights;
    T* prediction_weights;
    T* sketch_scales;

    BackwardScratch(Workspace& workspace, const ChosenTriplets& triplets) {
        begin = workspace.take<int64_t>(triplets.m + 1);
        sorted = workspace.take<int64_t>(2 * triplets.n);
        embedding_weights = workspace.take<T>(2 * triplets.n);
        attribute_weights = workspace.take<T>(2 * triplets.n);
        prediction_weights = workspace.take<T>(2 * triplets.n);
        sketch_scales = workspace.take<T>(triplets.n);
    }
};

}  // namespace

int64_t attribute_triplet_loss_backward_workspace(const ChosenTriplets& triplets) {
    return workspace_size(triplets.type, [&](auto s, Workspace& workspace) {
        BackwardScratch<Compute<decltype(s)>>(workspace, triplets);
    });
}

void attribute_triplet_loss_backward(const ChosenTriplets& triplets, const Predictions& predictions,
                                     const LossOptions& options, const void* grad_total,
                                     const void* grad_parts, void* grad_sketch, void* grad_photo,
                                     void* grad_sketch_logits, void* grad_photo_logits,
                                     void* memory, Stream stream) {
    if (triplets.n >= 1ll << 30) throw std::runtime_error("the loss takes below 2^30 anchors");
    with_type(triplets.type, [&](auto type) {
        using S = decltype(type);
        using T = Compute<S>;
        Workspace workspace(memory);
        const BackwardScratch<T> scratch(workspace, triplets);
        const int64_t anchor_blocks = ceil_div(triplets.n, kSortWarps);
        BackwardArguments<S> arguments = {};
        arguments.sketch = static_cast<const S*>(triplets.sketch);
        arguments.photo = static_cast<const S*>(triplets.photo);
        arguments.predictions = PredictionRows<S>(predictions);
        arguments.options = options;
        arguments.grad_total = static_cast<const T*>(grad_total);
        arguments.grad_parts = static_cast<const T*>(grad_parts);
        arguments.distances = static_cast<const T*>(triplets.distances);
        arguments.scale = static_cast<const T*>(triplets.scale);
        arguments.references = {triplets.positive, triplets.negative, triplets.n,
                                triplets.m,        scratch.begin,     scratch.sorted};
        arguments.embedding_weights = scratch.embedding_weights;
        arguments.attribute_weights = scratch.attribute_weights;
        arguments.prediction_weights = scratch.prediction_weights;
        arguments.sketch_scales = scratch.sketch_scales;
        arguments.grad_sketch = static_cast<S*>(grad_sketch);
        arguments.grad_photo = static_cast<S*>(grad_photo);
        arguments.grad_sketch_logits = static_cast<S*>(grad_sketch_logits);
        arguments.grad_photo_logits = static_cast<S*>(grad_photo_logits);
        arguments.n = triplets.n;
        arguments.m = triplets.m;
        arguments.d = triplets.d;
        arguments.anchor_blocks = anchor_blocks;
        const int64_t sort_blocks = ceil_div(triplets.m, kPhotos);
        FGSBIR_CHECK_CUDA(launch(gradients_of_anchors<S>, grid_of(anchor_blocks + sort_blocks),
                                 kSortWarps * kWarp, sizeof(SortMemory), stream, arguments));
        FGSBIR_CHECK_CUDA(launch(gradients_of_photos<S>, grid_of(ceil_div(triplets.m, kPhotoWarps)),
                                 kPhotoThreads, sizeof(PhotoMemory<T>), stream, arguments));
    });
}

}  // namespace fgsbir::cuda
