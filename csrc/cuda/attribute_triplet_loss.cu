// The loss of Eq. 1: mining, then every term of every anchor in one pass, then their sums.
//
// loss_of_anchors gives one warp to an anchor. It takes the winners that mining left, and computes
// the chosen distances anew from the rows themselves, as sums of squared differences: what mining
// compared was rounded, what the loss returns is not. Lanes stride over dimensions and attributes,
// and partial sums are added in one fixed order. Memory traffic: three rows of embeddings, of
// logits and of attributes an anchor, (3 D + 6 K) N elements, and a dozen numbers an anchor
// written. reduce_terms is a single block that adds them up in float64.
//
// Limits: those of mining.

#include "metric.cuh"
#include "mining.cuh"
#include "predictions.cuh"

namespace fgsbir::cuda {
namespace {

constexpr int kWarps = 4;

template <typename S>
struct LossArguments {
    using T = Compute<S>;

    const S* sketch;              // [N, D]
    const S* photo;               // [M, D]
    const T* sketch_norms;        // [N] inverse norms, read where rows are units
    const T* photo_norms;         // [M]
    const Key<T>* positive_keys;  // [splits, N]
    const Key<T>* negative_keys;  // [splits, N]
    PredictionRows<S> predictions;
    LossOptions options;
    int64_t* positive;  // [N]
    int64_t* negative;  // [N]
    T* distances;       // [kTripletDistances, N]
    T* terms;           // [kTerms, N]
    T* total;           // [N] for Reduction::none, else null
    T* scale;           // [1] the same
    int64_t splits, n, d;
};

// d+ and d- of an anchor, in every lane.
template <typename S>
__device__ void embedding_distances(const LossArguments<S>& in, int64_t i, const Triplet& triplet,
                                    Compute<S> (&distance)[kTripletDistances]) {
    using T = Compute<S>;
    const Metric metric = in.options.metric;
    const S* s = in.sketch + i * in.d;
    const S* p = in.photo + triplet.positive * in.d;
    const S* q = in.photo + triplet.negative * in.d;
    const T s_scale = row_scale(in.sketch_norms, metric, i);
    const T p_scale = row_scale(in.photo_norms, metric, triplet.positive);
    const T q_scale = row_scale(in.photo_norms, metric, triplet.negative);
    T positive = 0, negative = 0;
    for (int64_t k = threadIdx.x % kWarp; k < in.d; k += kWarp) {
        const T own = product(to_compute(s[k]), s_scale);
        const T to_positive = own - product(to_compute(p[k]), p_scale);
        const T to_negative = own - product(to_compute(q[k]), q_scale);
        positive += to_positive * to_positive;
        negative += to_negative * to_negative;
    }
    distance[kPositive] = distance_of(warp_sum(positive), s_scale, p_scale, metric);
    distance[kNegative] = distance_of(warp_sum(negative), s_scale, q_scale, metric);
}

// A mean of cross-entropies under way: over the known attributes.
template <typename T>
struct KnownMean {
    T sum = 0;
    int known = 0;

    __device__ void add(T logit, Answer answer) {
        if (answer == Answer::unknown) return;
        sum += cross_entropy(logit, answer);
        ++known;
    }
    __device__ T over_warp() const {
        const T total = warp_sum(sum);
        const int count = warp_sum(known);
        return count == 0 ? T(0) : total / static_cast<T>(count);
    }
};

// D+, D- and the terms of attribute prediction, in every lane.
template <typename S>
__device__ void attribute_terms(const LossArguments<S>& in, int64_t i, const Triplet& triplet,
                                Compute<S> (&distance)[kTripletDistances],
                                Compute<S> (&term)[kTerms]) {
    using T = Compute<S>;
    const auto& rows = in.predictions;
    const AttributeMetric metric = in.options.attribute_metric;
    T positive = 0, negative = 0;
    KnownMean<T> of_sketch, of_positive, of_negative;
    for (int64_t k = threadIdx.x % kWarp; k < rows.k; k += kWarp) {
        const T s = rows.sketch(i, k);
        const T p = rows.photo(triplet.positive, k), q = rows.photo(triplet.negative, k);
        const Probability<T> a = probability(s);
        positive += predicted_difference(a, p, metric);
        negative += predicted_difference(a, q, metric);
        of_sketch.add(s, rows.sketch_answer(i, k));
        of_positive.add(p, rows.photo_answer(triplet.positive, k));
        of_negative.add(q, rows.photo_answer(triplet.negative, k));
    }
    distance[kPositivePredicted] = predicted_distance_of(warp_sum(positive), rows.k, metric);
    distance[kNegativePredicted] = predicted_distance_of(warp_sum(negative), rows.k, metric);
    term[kSketchAttribute] = of_sketch.over_warp();
    term[kPositiveAttribute] = of_positive.over_warp();
    term[kNegativeAttribute] = of_negative.over_warp();
}

template <typename S>
__global__ void __launch_bounds__(kWarps* kWarp) loss_of_anchors(const LossArguments<S> in) {
    using T = Compute<S>;
    const int64_t i = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarp;
    if (i >= in.n) return;
    const Triplet triplet = chosen_triplet(in.positive_keys, in.negative_keys, in.splits, in.n, i);
    T distance[kTripletDistances] = {}, term[kTerms] = {};
    if (triplet.valid()) {
        embedding_distances(in, i, triplet, distance);
        if (in.predictions.given) attribute_terms(in, i, triplet, distance, term);
        ranking_terms(distance, in.options, in.predictions.given, term);
    }
    if (threadIdx.x % kWarp != 0) return;
    in.positive[i] = triplet.positive;
    in.negative[i] = triplet.negative;
    T total = 0;
#pragma unroll
    for (int t = 0; t < kTripletDistances; ++t) in.distances[t * in.n + i] = distance[t];
#pragma unroll
    for (int t = 0; t < kTerms; ++t) {
        in.terms[t * in.n + i] = term[t];
        total += static_cast<T>(in.options.lambda[t]) * term[t];
    }
    if (in.total != nullptr) {
        in.total[i] = total;
        if (i == 0) *in.scale = 1;
    }
}

// --- Sums over anchors ---------------------------------------------------------------------------

constexpr int kReduceThreads = 512;

struct ReduceMemory {
    double sums[kReduceThreads / kWarp][kTerms];
    int counts[kReduceThreads / kWarp];
};

template <typename T>
__global__ void __launch_bounds__(kReduceThreads)
    reduce_terms(const T* terms /* [kTerms, N] */, const int64_t* positive /* [N] */, int64_t n,
                 const LossOptions options, T* total /* [1] */, T* parts /* [kTerms] */,
                 T* scale /* [1] */) {
    auto& memory = shared_memory<ReduceMemory>();
    double sum[kTerms] = {};
    int valid = 0;
    for (int64_t i = threadIdx.x; i < n; i += kReduceThreads) {
#pragma unroll
        for (int t = 0; t < kTerms; ++t) sum[t] += terms[t * n + i];
        valid += positive[i] >= 0;
    }
    const int warp = threadIdx.x / kWarp;
#pragma unroll
    for (int t = 0; t < kTerms; ++t) {
        const double of_warp = warp_sum(sum[t]);
        if (threadIdx.x % kWarp == 0) memory.sums[warp][t] = of_warp;
    }
    valid = warp_sum(valid);
    if (threadIdx.x % kWarp == 0) memory.counts[warp] = valid;
    __syncthreads();  // publishes the sums of the warps to the first thread
    if (threadIdx.x != 0) return;

    int64_t count = 0;
    for (int w = 0; w < kReduceThreads / kWarp; ++w) count += memory.counts[w];
    const double divisor =
        options.reduction == Reduction::mean && count > 0 ? static_cast<double>(count) : 1.0;
    double weighted = 0;
    for (int t = 0; t < kTerms; ++t) {
        double part = 0;
        for (int w = 0; w < kReduceThreads / kWarp; ++w) part += memory.sums[w][t];
        parts[t] = static_cast<T>(part / divisor);
        weighted += options.lambda[t] * part / divisor;
    }
    *total = static_cast<T>(weighted);
    *scale = static_cast<T>(1 / divisor);
}

}  // namespace

int64_t attribute_triplet_loss_workspace(const Mining& mining) {
    return workspace_size(mining.type, [&](auto s, Workspace& workspace) {
        using T = Compute<decltype(s)>;
        MiningScratch<T>(workspace, mining, mining_splits(mining));
        workspace.take<T>(kTerms * mining.n);
    });
}

void attribute_triplet_loss(const Mining& mining, const Predictions& predictions,
                            const LossOptions& options, void* total, void* parts, int64_t* positive,
                            int64_t* negative, void* distances, void* scale, void* memory,
                            Stream stream) {
    with_type(mining.type, [&](auto type) {
        using S = decltype(type);
        using T = Compute<S>;
        Workspace workspace(memory);
        const Mined<T> mined = mine<S>(mining, workspace, stream);

        const bool per_anchor = options.reduction == Reduction::none;
        T* terms = per_anchor ? static_cast<T*>(parts) : workspace.take<T>(kTerms * mining.n);
        LossArguments<S> arguments = {};
        arguments.sketch = static_cast<const S*>(mining.sketch);
        arguments.photo = static_cast<const S*>(mining.photo);
        arguments.sketch_norms = mined.sketch_norms;
        arguments.photo_norms = mined.photo_norms;
        arguments.positive_keys = mined.positive;
        arguments.negative_keys = mined.negative;
        arguments.predictions = PredictionRows<S>(predictions);
        arguments.options = options;
        arguments.positive = positive;
        arguments.negative = negative;
        arguments.distances = static_cast<T*>(distances);
        arguments.terms = terms;
        arguments.total = per_anchor ? static_cast<T*>(total) : nullptr;
        arguments.scale = per_anchor ? static_cast<T*>(scale) : nullptr;
        arguments.splits = mined.splits;
        arguments.n = mining.n;
        arguments.d = mining.d;
        FGSBIR_CHECK_CUDA(launch(loss_of_anchors<S>, grid_of(ceil_div(mining.n, kWarps)),
                                 kWarps * kWarp, 0, stream, arguments));
        if (!per_anchor) {
            FGSBIR_CHECK_CUDA(launch(reduce_terms<T>, 1, kReduceThreads, sizeof(ReduceMemory),
                                     stream, terms, positive, mining.n, options,
                                     static_cast<T*>(total), static_cast<T*>(parts),
                                     static_cast<T*>(scale)));
        }
    });
}

}  // namespace fgsbir::cuda
