// Tensors of Python, and the sides of a batch, as the operations read them.
//
// They are read through attributes and methods that every torch.Tensor has, so that the build needs
// no header of torch's.
#pragma once

#include <pybind11/pybind11.h>

#include <array>
#include <cstdint>
#include <string>
#include <utility>

#include "ops.h"

namespace fgsbir {

// A dense tensor of at most two dimensions, or no tensor.
struct Tensor {
    pybind11::object owner;  // of the memory at `data`
    void* data = nullptr;
    ScalarType type = ScalarType::float32;
    int64_t rows = 0, columns = 0;

    bool given() const { return static_cast<bool>(owner); }
    template <typename T>
    const T* as() const {
        return static_cast<const T*>(data);
    }
};

// The memory of a dense tensor that is written, or null.
struct Output {
    void* data = nullptr;

    template <typename T>
    T* as() const {
        return static_cast<T*>(data);
    }
};

// The fields of Side in fgsbir_ext/types.py.
struct Side {
    Tensor embedding;   // [rows, D]
    Tensor logits;      // [rows, K]
    Tensor attributes;  // [rows, K]
    Tensor labels;      // [rows]
};

// The type that distances and losses of embeddings are computed in.
constexpr ScalarType computed_in(ScalarType type) {
    return type == ScalarType::float64 ? type : ScalarType::float32;
}

// Throws unless a tensor that is given has a size. Arguments have been checked before they come
// here, but a tensor may have been given other memory since: by `x.data = ...`, for one.
inline void expect_size(const char* name, const Tensor& tensor, int64_t rows, int64_t columns = 0) {
    if (!tensor.given() || (tensor.rows == rows && tensor.columns == columns)) return;
    throw pybind11::value_error(std::string(name) + " has another size than the rest of the batch");
}

inline void expect(const char* name, const Tensor& tensor, ScalarType type, int64_t rows,
                   int64_t columns = 0) {
    if (tensor.given() && tensor.type != type) {
        throw pybind11::type_error(std::string(name) +
                                   " has another type than the rest of the batch");
    }
    expect_size(name, tensor, rows, columns);
}

namespace python {

// Throws the exception that Python has raised in place of a result.
inline pybind11::object result(PyObject* object) {
    if (object == nullptr) throw pybind11::error_already_set();
    return pybind11::reinterpret_steal<pybind11::object>(object);
}

// Names and objects that are looked up once. Modules do so as they are loaded: what is static must
// not be made by two threads, one of which waits for the interpreter's lock.
struct Known {
    PyObject* contiguous = PyUnicode_InternFromString("contiguous");
    PyObject* data_ptr = PyUnicode_InternFromString("data_ptr");
    PyObject* dtype = PyUnicode_InternFromString("dtype");
    PyObject* new_empty = PyUnicode_InternFromString("new_empty");
    PyObject* shape = PyUnicode_InternFromString("shape");
    PyObject* dtype_keyword = PyTuple_Pack(1, dtype);
    PyObject* uint8 = of_torch("uint8");
    std::array<std::pair<PyObject*, ScalarType>, 10> types = {{
        {of_torch("float32"), ScalarType::float32},
        {of_torch("bfloat16"), ScalarType::bfloat16},
        {of_torch("float16"), ScalarType::float16},
        {of_torch("float64"), ScalarType::float64},
        {of_torch("int8"), ScalarType::int8},
        {of_torch("int64"), ScalarType::int64},
        {of_torch("bool"), ScalarType::uint8},
        {uint8, ScalarType::uint8},
        {of_torch("int16"), ScalarType::int16},
        {of_torch("int32"), ScalarType::int32},
    }};

  private:
    static PyObject* of_torch(const char* member) {
        return pybind11::object(pybind11::module_::import("torch").attr(member)).release().ptr();
    }
};

inline const Known& known() {
    static const Known* const known = new Known;
    return *known;
}

inline void* address_of(pybind11::handle tensor) {
    void* const address =
        PyLong_AsVoidPtr(result(PyObject_CallMethodNoArgs(tensor.ptr(), known().data_ptr)).ptr());
    if (address == nullptr && PyErr_Occurred()) throw pybind11::error_already_set();
    return address;
}

inline ScalarType scalar_type_of(pybind11::handle dtype) {
    for (const auto& [type, value] : known().types) {
        if (type == dtype.ptr()) return value;
    }
    throw pybind11::type_error("no kernel reads tensors of this type");
}

// A tensor that is not none; what is not dense is copied.
inline Tensor tensor_of(pybind11::handle given) {
    Tensor tensor;
    tensor.owner = result(PyObject_CallMethodNoArgs(given.ptr(), known().contiguous));
    tensor.data = address_of(tensor.owner);
    tensor.type = scalar_type_of(result(PyObject_GetAttr(given.ptr(), known().dtype)));
    const pybind11::object sizes = result(PyObject_GetAttr(given.ptr(), known().shape));
    const auto size = [&](Py_ssize_t dimension) {
        return PyLong_AsLongLong(PyTuple_GET_ITEM(sizes.ptr(), dimension));
    };
    const Py_ssize_t dimensions = PyTuple_Size(sizes.ptr());
    if (dimensions > 0) tensor.rows = size(0);
    if (dimensions > 1) tensor.columns = size(1);
    return tensor;
}

// `size` bytes on the device of a tensor, of torch's memory.
inline Tensor scratch(const Tensor& like, int64_t size) {
    const pybind11::object count = result(PyLong_FromLongLong(size));
    PyObject* const arguments[] = {like.owner.ptr(), count.ptr(), known().uint8};
    Tensor memory;
    memory.owner =
        result(PyObject_VectorcallMethod(known().new_empty, arguments, 2, known().dtype_keyword));
    memory.data = address_of(memory.owner);
    return memory;
}

}  // namespace python
}  // namespace fgsbir

namespace pybind11::detail {

template <>
struct type_caster<fgsbir::Tensor> {
    PYBIND11_TYPE_CASTER(fgsbir::Tensor, const_name("torch.Tensor | None"));
    bool load(handle given, bool) {
        if (!given.is_none()) value = fgsbir::python::tensor_of(given);
        return true;
    }
};

template <>
struct type_caster<fgsbir::Output> {
    PYBIND11_TYPE_CASTER(fgsbir::Output, const_name("torch.Tensor | None"));
    bool load(handle given, bool) {
        if (!given.is_none()) value.data = fgsbir::python::address_of(given);
        return true;
    }
};

template <>
struct type_caster<fgsbir::Side> {
    PYBIND11_TYPE_CASTER(fgsbir::Side, const_name("Side"));
    bool load(handle given, bool) {
        if (!PyTuple_Check(given.ptr()) || PyTuple_GET_SIZE(given.ptr()) != 4) return false;
        fgsbir::Tensor* const fields[] = {&value.embedding, &value.logits, &value.attributes,
                                          &value.labels};
        for (Py_ssize_t at = 0; at < 4; ++at) {
            const handle field = PyTuple_GET_ITEM(given.ptr(), at);
            if (!field.is_none()) *fields[at] = fgsbir::python::tensor_of(field);
        }
        return true;
    }
};

}  // namespace pybind11::detail
