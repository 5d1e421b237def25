// Arguments of the operations of both backends, made of what Python passes.
#pragma once

#include "ops.h"
#include "tensors.h"

namespace fgsbir {

template <typename T>
void point(const T*& pointer, const Tensor& at) {
    pointer = at.as<T>();
}

// A batch to mine; attributes are left to the backend.
template <typename Mining>
Mining mining_of(const Side& sketch, const Side& photo, const MiningOptions& options) {
    Mining mining = {};
    static_cast<MiningOptions&>(mining) = options;
    point(mining.sketch, sketch.embedding);
    point(mining.photo, photo.embedding);
    point(mining.sketch_labels, sketch.labels);
    point(mining.photo_labels, photo.labels);
    mining.n = sketch.embedding.rows;
    mining.m = photo.embedding.rows;
    mining.d = sketch.embedding.columns;
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
    T* distances;       // [4, N]
    T* scale;           // [1]

    // `photos` is [2, N]; `saved` is [4 N + 1], of elements of so many bytes where T is void.
    Chosen(void* photos, void* saved, int64_t n, int64_t bytes)
        : positive(static_cast<int64_t*>(photos)),
          negative(positive + n),
          distances(static_cast<T*>(saved)),
          scale(reinterpret_cast<T*>(static_cast<char*>(saved) + kTripletDistances * n * bytes)) {}
};

template <typename Triplets, typename T>
Triplets triplets_of(const Side& sketch, const Side& photo, const Chosen<T>& chosen) {
    Triplets triplets = {};
    point(triplets.sketch, sketch.embedding);
    point(triplets.photo, photo.embedding);
    triplets.positive = chosen.positive;
    triplets.negative = chosen.negative;
    triplets.distances = chosen.distances;
    triplets.scale = chosen.scale;
    triplets.n = sketch.embedding.rows;
    triplets.m = photo.embedding.rows;
    triplets.d = sketch.embedding.columns;
    return triplets;
}

template <typename Search>
Search search_of(const Side& query, const Side& gallery, const SearchOptions& options) {
    Search search = {};
    static_cast<SearchOptions&>(search) = options;
    point(search.query, query.embedding);
    point(search.gallery, gallery.embedding);
    point(search.query_logits, query.logits);
    point(search.gallery_logits, gallery.logits);
    search.n = query.embedding.rows;
    search.m = gallery.embedding.rows;
    search.d = query.embedding.columns;
    search.attributes = query.logits.columns;
    return search;
}

}  // namespace fgsbir
