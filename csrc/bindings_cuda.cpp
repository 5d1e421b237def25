// The submodule fgsbir_ext._C.cuda: the operations on tensors of a CUDA device, on a given stream.

#include <pybind11/pybind11.h>

#include <cstdint>

#include "bind.h"
#include "ops_cuda.h"

namespace py = pybind11;
using namespace fgsbir;

namespace {

using cuda::Array, cuda::Attributes, cuda::ChosenTriplets, cuda::Mining, cuda::Predictions;

// What torch.cuda.Stream.cuda_stream is.
using StreamAddress = uintptr_t;

Array array_of(const Tensor& tensor) {
    return {tensor.data, tensor.type};
}

Attributes attributes_of(const Tensor& a, const Tensor& b, const Tensor& weights) {
    expect_size("b", b, b.rows, a.columns);
    expect_size("a tensor of weights", weights, a.columns);
    return {array_of(a), array_of(b), array_of(weights), a.columns};
}

Mining mining_of(const Side& sketch, const Side& photo, const Tensor& weights,
                 const MiningOptions& options) {
    const ScalarType type = sketch.embedding.type;
    auto mining = fgsbir::mining_of<Mining>(sketch, photo, options, type);
    mining.type = type;
    if (options.guidance > 0 && sketch.attributes.given() && photo.attributes.given()) {
        mining.attributes = attributes_of(sketch.attributes, photo.attributes, weights);
    }
    return mining;
}

Predictions predictions_of(const Side& sketch, const Side& photo) {
    auto predictions = fgsbir::predictions_of<Predictions>(sketch, photo);
    if (!predictions.given) return predictions;
    predictions.sketch_attributes = array_of(sketch.attributes);
    predictions.photo_attributes = array_of(photo.attributes);
    return predictions;
}

// run(workspace, stream) without the interpreter's lock; the workspace is of so many bytes on the
// device of a tensor. Torch gives its memory to nothing else on this stream before it was used.
template <typename Run>
void launch(const Tensor& like, int64_t workspace_size, StreamAddress stream, Run run) {
    const Tensor workspace = python::scratch(like, workspace_size);
    const py::gil_scoped_release release;
    run(workspace.data, reinterpret_cast<cuda::Stream>(stream));
}

void pairwise_distance(const Tensor& x, const Tensor& y, Output distance, Metric metric,
                       StreamAddress stream) {
    expect_distances(x, y, {}, {}, x.type);
    const int64_t size = cuda::pairwise_distance_workspace(x.type, x.rows, y.rows, metric);
    launch(x, size, stream, [&](void* workspace, cuda::Stream on) {
        cuda::pairwise_distance(x.type, x.data, y.data, distance.data, x.rows, y.rows, x.columns,
                                metric, workspace, on);
    });
}

void pairwise_distance_backward(const Tensor& grad, const Tensor& distance, const Tensor& x,
                                const Tensor& y, Output grad_x, Output grad_y, Metric metric,
                                StreamAddress stream) {
    expect_distances(x, y, distance, grad, x.type);
    const int64_t size =
        cuda::pairwise_distance_backward_workspace(x.type, x.rows, y.rows, x.columns, metric);
    launch(x, size, stream, [&](void* workspace, cuda::Stream on) {
        cuda::pairwise_distance_backward(x.type, grad.data, distance.data, x.data, y.data,
                                         grad_x.data, grad_y.data, x.rows, y.rows, x.columns,
                                         metric, workspace, on);
    });
}

void attribute_distance(const Tensor& a, const Tensor& b, const Tensor& weights, Output distance,
                        StreamAddress stream) {
    const Attributes attributes = attributes_of(a, b, weights);
    const int64_t size = cuda::attribute_distance_workspace(attributes, a.rows, b.rows);
    launch(a, size, stream, [&](void* workspace, cuda::Stream on) {
        cuda::attribute_distance(attributes, distance.as<float>(), a.rows, b.rows, workspace, on);
    });
}

void mine_batch_hard(const Side& sketch, const Side& photo, const Tensor& weights,
                     const MiningOptions& options, Output positive, Output negative,
                     StreamAddress stream) {
    const Mining mining = mining_of(sketch, photo, weights, options);
    const int64_t size = cuda::mine_batch_hard_workspace(mining);
    launch(sketch.embedding, size, stream, [&](void* workspace, cuda::Stream on) {
        cuda::mine_batch_hard(mining, positive.as<int64_t>(), negative.as<int64_t>(), workspace,
                              on);
    });
}

void attribute_triplet_loss(const Side& sketch, const Side& photo, const Tensor& weights,
                            const MiningOptions& mining_options, const LossOptions& options,
                            Output total, Output parts, Output photos, Output saved,
                            StreamAddress stream) {
    const Mining mining = mining_of(sketch, photo, weights, mining_options);
    const Chosen<void> chosen(photos.data, saved.data, mining.n, mining.type);
    const int64_t size = cuda::attribute_triplet_loss_workspace(mining);
    launch(sketch.embedding, size, stream, [&](void* workspace, cuda::Stream on) {
        cuda::attribute_triplet_loss(mining, predictions_of(sketch, photo), options, total.data,
                                     parts.data, chosen.positive, chosen.negative, chosen.distances,
                                     chosen.scale, workspace, on);
    });
}

void attribute_triplet_loss_backward(const Tensor& grad_total, const Tensor& grad_parts,
                                     const Side& sketch, const Side& photo, const Tensor& photos,
                                     const Tensor& saved, const LossOptions& options,
                                     Output grad_sketch, Output grad_photo,
                                     Output grad_sketch_logits, Output grad_photo_logits,
                                     StreamAddress stream) {
    const ScalarType type = sketch.embedding.type;
    auto triplets = triplets_of<void, ChosenTriplets>(sketch, photo, photos, saved, type);
    triplets.type = type;
    expect_gradients(grad_total, grad_parts, type, triplets.n, options.reduction);
    const int64_t size = cuda::attribute_triplet_loss_backward_workspace(triplets);
    launch(sketch.embedding, size, stream, [&](void* workspace, cuda::Stream on) {
        cuda::attribute_triplet_loss_backward(triplets, predictions_of(sketch, photo), options,
                                              grad_total.data, grad_parts.data, grad_sketch.data,
                                              grad_photo.data, grad_sketch_logits.data,
                                              grad_photo_logits.data, workspace, on);
    });
}

void topk(const Side& query, const Side& gallery, const SearchOptions& options, Output values,
          Output indices, StreamAddress stream) {
    const ScalarType type = query.embedding.type;
    auto search = search_of<cuda::Search>(query, gallery, options, type, type);
    search.type = type;
    launch(query.embedding, cuda::topk_workspace(search), stream,
           [&](void* workspace, cuda::Stream on) {
               cuda::topk(search, values.data, indices.as<int64_t>(), workspace, on);
           });
}

}  // namespace

void bind_cuda(py::module_& module) {
    python::known();
    module.attr("MAX_TOPK") = cuda::kMaxTopK;
    module.def("driver_version", &cuda::driver_version);
    module.def("pairwise_distance", &pairwise_distance);
    module.def("pairwise_distance_backward", &pairwise_distance_backward);
    module.def("attribute_distance", &attribute_distance);
    module.def("mine_batch_hard", &mine_batch_hard);
    module.def("attribute_triplet_loss", &attribute_triplet_loss);
    module.def("attribute_triplet_loss_backward", &attribute_triplet_loss_backward);
    module.def("topk", &topk);
}
