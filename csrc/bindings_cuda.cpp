// The submodule fgsbir_ext._C.cuda: addresses of device memory, sizes and a stream go through.

#include <pybind11/pybind11.h>

#include "ops_cuda.h"

namespace py = pybind11;
using namespace fgsbir;

namespace {

// An address as tensor.data_ptr() gives it, a stream as torch.cuda.Stream.cuda_stream does; 0
// stands for no tensor and for the default stream.
using Address = uintptr_t;

template <typename T = void>
T* at(Address address) {
    return reinterpret_cast<T*>(address);
}

using Unlocked = py::call_guard<py::gil_scoped_release>;

void bind_types(py::module_& module) {
    using cuda::ScalarType;
    const py::module_local local;  // another build of these kernels may be loaded beside this one
    py::enum_<ScalarType>(module, "ScalarType", local)
        .value("float32", ScalarType::float32)
        .value("float64", ScalarType::float64)
        .value("float16", ScalarType::float16)
        .value("bfloat16", ScalarType::bfloat16)
        .value("int8", ScalarType::int8)
        .value("int16", ScalarType::int16)
        .value("int32", ScalarType::int32)
        .value("int64", ScalarType::int64)
        .value("uint8", ScalarType::uint8)
        .value("bool", ScalarType::uint8);

    py::class_<cuda::Array>(module, "Array", local).def(py::init([](Address data, ScalarType type) {
        return cuda::Array{at(data), type};
    }));
    py::class_<cuda::Attributes>(module, "Attributes", local)
        .def(py::init([](const cuda::Array& a, const cuda::Array& b, const cuda::Array& weights,
                         int64_t k) { return cuda::Attributes{a, b, weights, k}; }));
    py::class_<cuda::Mining>(module, "Mining", local)
        .def(py::init([](ScalarType type, Address sketch, Address photo, Address sketch_labels,
                         Address photo_labels, const cuda::Attributes& attributes, double guidance,
                         bool exclude_self, Metric metric, int64_t n, int64_t m, int64_t d) {
            return cuda::Mining{type,
                                at(sketch),
                                at(photo),
                                at<const int64_t>(sketch_labels),
                                at<const int64_t>(photo_labels),
                                attributes,
                                guidance,
                                exclude_self,
                                metric,
                                n,
                                m,
                                d};
        }));
    py::class_<cuda::Predictions>(module, "Predictions", local)
        .def(py::init([](bool given, Address sketch_logits, Address photo_logits,
                         const cuda::Array& sketch_attributes, const cuda::Array& photo_attributes,
                         int64_t k) {
            return cuda::Predictions{
                given, at(sketch_logits), at(photo_logits), sketch_attributes, photo_attributes, k};
        }));
    py::class_<cuda::ChosenTriplets>(module, "ChosenTriplets", local)
        .def(py::init([](ScalarType type, Address sketch, Address photo, Address positive,
                         Address negative, Address distances, Address scale, int64_t n, int64_t m,
                         int64_t d) {
            return cuda::ChosenTriplets{type,
                                        at(sketch),
                                        at(photo),
                                        at<const int64_t>(positive),
                                        at<const int64_t>(negative),
                                        at(distances),
                                        at(scale),
                                        n,
                                        m,
                                        d};
        }));
    py::class_<cuda::Search>(module, "Search", local)
        .def(py::init([](ScalarType type, Address query, Address gallery, Address query_logits,
                         Address gallery_logits, double attribute_weight, Metric metric,
                         AttributeMetric attribute_metric, int64_t n, int64_t m, int64_t d,
                         int64_t attributes, int64_t k) {
            return cuda::Search{type,
                                at(query),
                                at(gallery),
                                at(query_logits),
                                at(gallery_logits),
                                attribute_weight,
                                metric,
                                attribute_metric,
                                n,
                                m,
                                d,
                                attributes,
                                k};
        }));
}

void bind_distances(py::module_& module) {
    using cuda::ScalarType;
    module.def("pairwise_distance_workspace", &cuda::pairwise_distance_workspace);
    module.def(
        "pairwise_distance",
        [](ScalarType type, Address x, Address y, Address distance, int64_t n, int64_t m, int64_t d,
           Metric metric, Address workspace, Address stream) {
            cuda::pairwise_distance(type, at(x), at(y), at(distance), n, m, d, metric,
                                    at(workspace), at<CUstream_st>(stream));
        },
        Unlocked());
    module.def("pairwise_distance_backward_workspace", &cuda::pairwise_distance_backward_workspace);
    module.def(
        "pairwise_distance_backward",
        [](ScalarType type, Address grad, Address distance, Address x, Address y, Address grad_x,
           Address grad_y, int64_t n, int64_t m, int64_t d, Metric metric, Address workspace,
           Address stream) {
            cuda::pairwise_distance_backward(type, at(grad), at(distance), at(x), at(y), at(grad_x),
                                             at(grad_y), n, m, d, metric, at(workspace),
                                             at<CUstream_st>(stream));
        },
        Unlocked());
    module.def("attribute_distance_workspace", &cuda::attribute_distance_workspace);
    module.def(
        "attribute_distance",
        [](const cuda::Attributes& attributes, Address distance, int64_t n, int64_t m,
           Address workspace, Address stream) {
            cuda::attribute_distance(attributes, at<float>(distance), n, m, at(workspace),
                                     at<CUstream_st>(stream));
        },
        Unlocked());
}

void bind_triplets(py::module_& module) {
    module.def("mine_batch_hard_workspace", &cuda::mine_batch_hard_workspace);
    module.def(
        "mine_batch_hard",
        [](const cuda::Mining& mining, Address positive, Address negative, Address workspace,
           Address stream) {
            cuda::mine_batch_hard(mining, at<int64_t>(positive), at<int64_t>(negative),
                                  at(workspace), at<CUstream_st>(stream));
        },
        Unlocked());
    module.def("attribute_triplet_loss_workspace", &cuda::attribute_triplet_loss_workspace);
    module.def(
        "attribute_triplet_loss",
        [](const cuda::Mining& mining, const cuda::Predictions& predictions,
           const LossOptions& options, Address total, Address parts, Address positive,
           Address negative, Address distances, Address scale, Address workspace, Address stream) {
            cuda::attribute_triplet_loss(mining, predictions, options, at(total), at(parts),
                                         at<int64_t>(positive), at<int64_t>(negative),
                                         at(distances), at(scale), at(workspace),
                                         at<CUstream_st>(stream));
        },
        Unlocked());
    module.def("attribute_triplet_loss_backward_workspace",
               &cuda::attribute_triplet_loss_backward_workspace);
    module.def(
        "attribute_triplet_loss_backward",
        [](const cuda::ChosenTriplets& triplets, const cuda::Predictions& predictions,
           const LossOptions& options, Address grad_total, Address grad_parts, Address grad_sketch,
           Address grad_photo, Address grad_sketch_logits, Address grad_photo_logits,
           Address workspace, Address stream) {
            cuda::attribute_triplet_loss_backward(triplets, predictions, options, at(grad_total),
                                                  at(grad_parts), at(grad_sketch), at(grad_photo),
                                                  at(grad_sketch_logits), at(grad_photo_logits),
                                                  at(workspace), at<CUstream_st>(stream));
        },
        Unlocked());
}

void bind_search(py::module_& module) {
    module.attr("MAX_TOPK") = cuda::kMaxTopK;
    module.def("topk_workspace", &cuda::topk_workspace);
    module.def(
        "topk",
        [](const cuda::Search& search, Address values, Address indices, Address workspace,
           Address stream) {
            cuda::topk(search, at(values), at<int64_t>(indices), at(workspace),
                       at<CUstream_st>(stream));
        },
        Unlocked());
}

}  // namespace

void bind_cuda(py::module_& module) {
    module.def("driver_version", &cuda::driver_version);
    bind_types(module);
    bind_distances(module);
    bind_triplets(module);
    bind_search(module);
}
