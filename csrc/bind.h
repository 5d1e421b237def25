// Arguments of the operations of both backends, made of what Python passes.
#pragma once

#include "ops.h"
#include "tensors.h"

namespace fgsbir {

template <typename T>
void point(const T*& pointer, const Tensor& at) {
    pointer = at.as<T>();
}

// N, M and D of a batch whose two sides are given.
template <typename Batch>
void measure(Batch& batch, const Side& one, const Side& other) {
    batch.n = one.embedding.rows;
    batch.m = other.embedding.rows;
    batch.d = one.embedding.columns;
}

// Throws unless the sides are of a type each, and their tensors of sizes that fit each other.
inline void expect_sides(const Side& one, const Side& other, ScalarType type,
                         ScalarType other_type) {
    const Tensor& attributes = one.logits.given() ? one.logits : one.attributes;
    for (const Side* side : {&one, &other}) {
        const int64_t rows = side->embedding.rows;
        const ScalarType own = side == &one ? type : other_type;
        expect("an embedding", side->embedding, own, rows, one.embedding.columns);
        expect("a tensor of logits", side->logits, own, rows, attributes.columns);
        expect_size("a tensor of attributes", side->attributes, rows, attributes.columns);
        expect("a tensor of labels", side->labels, ScalarType::int64, rows);
    }
}

inline void expect_sides(const Side& one, const Side& other, ScalarType type) {
    expect_sides(one, other, type, type);
}

// A batch to mine; attributes are left to the backend.
template <typename Mining>
Mining mining_of(const Side& sketch, const Side& photo, const MiningOptions& options,
                 ScalarType type) {
    expect_sides(sketch, photo, type);
    Mining mining = {};
    static_cast<MiningOptions&>(mining) = options;
    point(mining.sketch, sketch.embedding);
    point(mining.photo, photo.embedding);
    point(mining.sketch_labels, sketch.labels);
    point(mining.photo_labels, photo.labels);
    measure(mining, sketch, photo);
    return mining;
}

// What the loss reads beside embeddings, if all of it is given; annotations are left to the
// backend.
template <typename Predictions>
Predictions predictions_of(const Side& sketch, const Side& photo) {
    Predictions predictions = {};
    predictions.given = sketch.logits.given() && photo.logits.given() &&
                        sketch.attributes.given() && photo.attributes.given();
    if (!predictions.given) return predictions;
    point(predictions.sketch_logits, sketch.logits);
    point(predictions.photo_logits, photo.logits);
    predictions.k = sketch.logits.columns;
    return predictions;
}

// The memory of ChosenTriplets in fgsbir_ext/types.py.
template <typename T>
struct Chosen {
    int64_t* positive;  // [N]
    int64_t* negative;  // [N]
    T* distances;       // [kTripletDistances, N]
    T* scale;           // [1]

    // `photos` is [2, N]; `saved` is [kTripletDistances N + 1], of numbers of a type.
    Chosen(void* photos, void* saved, int64_t n, ScalarType type)
        : positive(static_cast<int64_t*>(photos)),
          negative(positive + n),
          distances(static_cast<T*>(saved)),
          scale(
              reinterpret_cast<T*>(static_cast<char*>(saved) +
                                   kTripletDistances * n * (type == ScalarType::float64 ? 8 : 4))) {
    }
};

// What the gradients are computed from; T is void where the type is known at run time only.
template <typename T, typename Triplets>
Triplets triplets_of(const Side& sketch, const Side& photo, const Tensor& photos,
                     const Tensor& saved, ScalarType type) {
    const int64_t n = sketch.embedding.rows;
    expect_sides(sketch, photo, type);
    expect("photos", photos, ScalarType::int64, 2, n);
    expect("saved", saved, computed_in(type), kTripletDistances * n + 1);
    const Chosen<T> chosen(photos.data, saved.data, n, type);
    Triplets triplets = {};
    point(triplets.sketch, sketch.embedding);
    point(triplets.photo, photo.embedding);
    triplets.positive = chosen.positive;
    triplets.negative = chosen.negative;
    triplets.distances = chosen.distances;
    triplets.scale = chosen.scale;
    measure(triplets, sketch, photo);
    return triplets;
}

// Throws unless incoming gradients are of the type and the sizes of total and parts.
inline void expect_gradients(const Tensor& of_total, const Tensor& of_parts, ScalarType type,
                             int64_t n, Reduction reduction) {
    const int64_t anchors = reduction == Reduction::none ? n : 0;
    expect("the gradient of the loss", of_total, computed_in(type), anchors);
    expect("the gradient of its parts", of_parts, computed_in(type), kTerms, anchors);
}

// Throws unless rows, distances and their incoming gradients fit each other.
inline void expect_distances(const Tensor& x, const Tensor& y, const Tensor& distance,
                             const Tensor& grad, ScalarType type) {
    expect("x", x, type, x.rows, y.columns);
    expect("y", y, type, y.rows, x.columns);
    expect("the distance", distance, computed_in(type), x.rows, y.rows);
    expect("the gradient of the distance", grad, computed_in(type), x.rows, y.rows);
}

template <typename Search>
Search search_of(const Side& query, const Side& gallery, const SearchOptions& options,
                 ScalarType type, ScalarType gallery_type) {
    expect_sides(query, gallery, type, gallery_type);
    Search search = {};
    static_cast<SearchOptions&>(search) = options;
    point(search.query, query.embedding);
    point(search.gallery, gallery.embedding);
    point(search.query_logits, query.logits);
    point(search.gallery_logits, gallery.logits);
    measure(search, query, gallery);
    search.attributes = query.logits.columns;
    return search;
}

}  // namespace fgsbir
