// The Python module fgsbir_ext._C: options, and the operations on tensors of the CPU.

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "bind.h"
#include "build_info.h"

namespace py = pybind11;
using namespace fgsbir;

#ifdef FGSBIR_WITH_CUDA
void bind_cuda(py::module_& module);
#endif

namespace {

// run() without the interpreter's lock.
template <typename Run>
void run_unlocked(Run run) {
    const py::gil_scoped_release release;
    run();
}

// Packed attributes of two sets, and what they point into.
struct PackedAttributes {
    py::object a, b;  // Codes
    Tensor weights;
    cpu::PackedAttributes attributes = {};

    PackedAttributes() = default;
    PackedAttributes(py::object a_, py::object b_, Tensor weights_)
        : a(std::move(a_)), b(std::move(b_)), weights(std::move(weights_)) {
        const auto &of_a = a.cast<const cpu::Codes&>(), &of_b = b.cast<const cpu::Codes&>();
        expect("a tensor of weights", weights, ScalarType::float64, of_a.k);
        attributes = {
            of_a.words.data(), of_b.words.data(), weights.as<double>(), of_a.n, of_b.n, of_a.k};
    }
};

// The operations on tensors of the type T.
template <typename T>
struct Cpu {
    static constexpr ScalarType kType =
        std::is_same_v<T, double> ? ScalarType::float64 : ScalarType::float32;
    using Mining = cpu::Mining<T>;
    using Predictions = cpu::Predictions<T>;

    static void pairwise_distance(const Tensor& x, const Tensor& y, Output distance, Metric metric,
                                  int threads) {
        expect_distances(x, y, {}, {}, kType);
        run_unlocked([&] {
            cpu::pairwise_distance(x.as<T>(), y.as<T>(), distance.as<T>(), x.rows, y.rows,
                                   x.columns, metric, threads);
        });
    }

    static void pairwise_distance_backward(const Tensor& grad, const Tensor& distance,
                                           const Tensor& x, const Tensor& y, Output grad_x,
                                           Metric metric, bool transposed, int threads) {
        const Tensor &rows = transposed ? y : x, &columns = transposed ? x : y;
        expect_distances(rows, columns, distance, grad, kType);
        run_unlocked([&] {
            cpu::pairwise_distance_backward(grad.as<T>(), distance.as<T>(), x.as<T>(), y.as<T>(),
                                            grad_x.as<T>(), x.rows, y.rows, x.columns, metric,
                                            transposed, threads);
        });
    }

    static Mining mining_of(const Side& sketch, const Side& photo, const PackedAttributes& packed,
                            const MiningOptions& options) {
        auto mining = fgsbir::mining_of<Mining>(sketch, photo, options, kType);
        mining.attributes = packed.attributes;
        return mining;
    }

    static Predictions predictions_of(const Side& sketch, const Side& photo) {
        auto predictions = fgsbir::predictions_of<Predictions>(sketch, photo);
        if (!predictions.given) return predictions;
        for (const Side* side : {&sketch, &photo}) {
            expect("a tensor of attributes", side->attributes, ScalarType::int8,
                   side->embedding.rows, predictions.k);
        }
        point(predictions.sketch_attributes, sketch.attributes);
        point(predictions.photo_attributes, photo.attributes);
        return predictions;
    }

    static void mine_batch_hard(const Side& sketch, const Side& photo,
                                const PackedAttributes& attributes, const MiningOptions& options,
                                Output positive, Output negative, int threads) {
        const Mining mining = mining_of(sketch, photo, attributes, options);
        run_unlocked([&] {
            cpu::mine_batch_hard(mining, positive.as<int64_t>(), negative.as<int64_t>(), threads);
        });
    }

    static void attribute_triplet_loss(const Side& sketch, const Side& photo,
                                       const PackedAttributes& attributes,
                                       const MiningOptions& mining_options,
                                       const LossOptions& options, Output total, Output parts,
                                       Output photos, Output saved, int threads) {
        const Mining mining = mining_of(sketch, photo, attributes, mining_options);
        const Predictions predictions = predictions_of(sketch, photo);
        const Chosen<T> chosen(photos.data, saved.data, mining.n, kType);
        run_unlocked([&] {
            cpu::attribute_triplet_loss(mining, predictions, options, total.as<T>(), parts.as<T>(),
                                        chosen.positive, chosen.negative, chosen.distances,
                                        chosen.scale, threads);
        });
    }

    static void attribute_triplet_loss_backward(const Tensor& grad_total, const Tensor& grad_parts,
                                                const Side& sketch, const Side& photo,
                                                const Tensor& photos, const Tensor& saved,
                                                const LossOptions& options, Output grad_sketch,
                                                Output grad_photo, Output grad_sketch_logits,
                                                Output grad_photo_logits, int threads) {
        const auto triplets =
            triplets_of<T, cpu::ChosenTriplets<T>>(sketch, photo, photos, saved, kType);
        expect_gradients(grad_total, grad_parts, kType, triplets.n, options.reduction);
        const Predictions predictions = predictions_of(sketch, photo);
        run_unlocked([&] {
            cpu::attribute_triplet_loss_backward(triplets, predictions, options, grad_total.as<T>(),
                                                 grad_parts.as<T>(), grad_sketch.as<T>(),
                                                 grad_photo.as<T>(), grad_sketch_logits.as<T>(),
                                                 grad_photo_logits.as<T>(), threads);
        });
    }

    static void topk(const Side& query, const Side& gallery, const SearchOptions& options,
                     Output values, Output indices, int threads) {
        const ScalarType type = gallery.embedding.type;
        const bool shorter = type == ScalarType::bfloat16 || type == ScalarType::float16;
        auto search = search_of<cpu::Search<T>>(
            query, gallery, options, kType, shorter && kType == ScalarType::float32 ? type : kType);
        search.gallery_type = type;
        run_unlocked([&] { cpu::topk(search, values.as<T>(), indices.as<int64_t>(), threads); });
    }

    static void bind(py::module_& module, const std::string& type) {
        const auto define = [&](const char* name, auto* operation) {
            module.def((name + ("_" + type)).c_str(), operation);
        };
        define("pairwise_distance", &pairwise_distance);
        define("pairwise_distance_backward", &pairwise_distance_backward);
        define("mine_batch_hard", &mine_batch_hard);
        define("attribute_triplet_loss", &attribute_triplet_loss);
        define("attribute_triplet_loss_backward", &attribute_triplet_loss_backward);
        define("topk", &topk);
    }
};

cpu::Codes pack_attributes(const Tensor& attributes) {
    const auto pack = [&](const auto* values) {
        return cpu::pack_attributes(values, attributes.rows, attributes.columns);
    };
    switch (attributes.type) {
        case ScalarType::int8:
            return pack(attributes.as<int8_t>());
        case ScalarType::float32:
            return pack(attributes.as<float>());
        case ScalarType::float64:
            return pack(attributes.as<double>());
        default:
            throw py::type_error("attributes are packed from int8, float32 and float64");
    }
}

void bind_cpu_attributes(py::module_& module) {
    py::class_<cpu::Codes>(module, "Codes").def_readonly("invalid", &cpu::Codes::invalid);
    module.def("pack_attributes", &pack_attributes);
    py::class_<PackedAttributes>(module, "PackedAttributes")
        .def(py::init<>())
        .def(py::init<py::object, py::object, Tensor>());
    module.def(
        "attribute_distance", [](const PackedAttributes& packed, Output distance, int threads) {
            run_unlocked(
                [&] { cpu::attribute_distance(packed.attributes, distance.as<float>(), threads); });
        });
}

template <typename Choice, size_t kCount>
void bind_choice(py::module_& module, const char* type, const char* const (&names)[kCount]) {
    py::enum_<Choice> choice(module, type);
    for (size_t i = 0; i < kCount; ++i) choice.value(names[i], static_cast<Choice>(i));
}

void bind_options(py::module_& module) {
    bind_choice<Metric>(module, "Metric", kMetrics);
    bind_choice<AttributeMetric>(module, "AttributeMetric", kAttributeMetrics);
    bind_choice<Reduction>(module, "Reduction", kReductions);
    py::class_<MiningOptions>(module, "MiningOptions")
        .def(py::init([](Metric metric, double guidance, bool exclude_self) {
            return MiningOptions{metric, guidance, exclude_self};
        }));
    py::class_<SearchOptions>(module, "SearchOptions")
        .def(py::init([](int64_t k, double attribute_weight, Metric metric,
                         AttributeMetric attribute_metric) {
            return SearchOptions{k, attribute_weight, metric, attribute_metric};
        }));
    module.attr("TERMS") = static_cast<int>(kTerms);
    module.attr("TRIPLET_DISTANCES") = static_cast<int>(kTripletDistances);
    py::class_<LossOptions>(module, "LossOptions")
        .def(py::init([](Metric metric, AttributeMetric attribute_metric,
                         std::optional<double> margin, std::optional<double> attribute_margin,
                         const std::array<double, kTerms - 1>& lambdas, Reduction reduction) {
            LossOptions options = {metric,
                                   attribute_metric,
                                   margin.value_or(0),
                                   !margin.has_value(),
                                   attribute_margin.value_or(0),
                                   !attribute_margin.has_value(),
                                   {1},
                                   reduction};
            std::copy(lambdas.begin(), lambdas.end(), options.lambda + 1);
            return options;
        }));
}

}  // namespace

PYBIND11_MODULE(_C, module) {
    python::known();
    module.attr("version") = build_info::kVersion;
    module.attr("cuda_architectures") = build_info::kCudaArchitectures;
    module.attr("cuda_toolkit") = build_info::kCudaToolkit;
    module.attr("why_no_cuda") = build_info::kWhyNoCuda;
    module.attr("compiler") = build_info::kCompiler;
    bind_options(module);

    py::module_ cpu = module.def_submodule("cpu");
    bind_cpu_attributes(cpu);
    Cpu<float>::bind(cpu, "float32");
    Cpu<double>::bind(cpu, "float64");

#ifdef FGSBIR_WITH_CUDA
    py::module_ cuda = module.def_submodule("cuda");
    bind_cuda(cuda);
#endif
}
