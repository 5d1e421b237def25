"""Index in a Milvus database: for galleries that outgrow one machine.

Milvus spreads a collection over as many machines as it is given and asks all of them; what stays
here is the model and the connection. A path for a uri opens its embedded form, milvus-lite.

A photo is one row of the collection: its number, its file, the attributes that are predicted in
it, and the vector whose inner product with a query's ranks by r
(see :mod:`fgsbir.gallery.inner_product`). The collection's index is FLAT, which compares all; any
other that knows the inner product may be put in its place with Milvus's own tools.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from pymilvus import DataType, MilvusClient, MilvusException

from ..atomic_files import write_json
from ..models.retrieval import PREDICTED, Output
from .indexes import Index
from .inner_product import photo_rows, query_rows
from .match import Candidates
from .shard import CAPACITY, Shard, read_shard
from .store import Store

SENT_NAME = "milvus.json"  # which shards, as of which time, the database has
MOST_RESULTS = 16384  # that Milvus gives to one search
PAGE = 1000  # photos that come with one answer, where all are wanted
PATH_BYTES = 65535  # that a field of Milvus may have
MOST_ATTRIBUTES = 4096  # likewise


class MilvusIndex(Index):
    """The collection of one gallery in a database."""

    most_results = MOST_RESULTS

    def __init__(self, store: Store, uri: str) -> None:
        """Connects, and makes the collection if there is none.

        A token for the database is taken from MILVUS_TOKEN in the environment.

        Raises:
            ConnectionError: the database does not answer, or refuses.
        """
        self.store, self.uri = store, uri
        self.collection = f"fgsbir_{store.manifest.id}"
        with self._errors():
            self.client = MilvusClient(uri, token=os.environ.get("MILVUS_TOKEN", ""))
            if not self.client.has_collection(self.collection):
                self._create()
            self.client.load_collection(self.collection)

    @classmethod
    def open(cls, store: Store, uri: str) -> MilvusIndex:
        """Connects to a database."""
        return cls(store, uri)

    def __len__(self) -> int:
        with self._errors():
            counted = self.client.query(self.collection, output_fields=["count(*)"])
        return int(counted[0]["count(*)"])

    def path(self, number: int) -> str:
        """Where photo `number` lies; IndexError when there is none."""
        with self._errors():
            found = self.client.get(self.collection, ids=[number], output_fields=["file"])
        if not found:
            raise IndexError(f"no photo has the number {number}")
        return self.store.path_of(*json.loads(found[0]["file"]))

    def numbers(self, count: int) -> list[int]:
        """The `count` lowest numbers of photos, ascending; fewer where there are fewer."""
        numbers: list[int] = []
        with self._errors():
            pages = self.client.query_iterator(
                self.collection, PAGE, count, output_fields=["number"]
            )
            while page := pages.next():
                numbers += [row["number"] for row in page]
            pages.close()
        return numbers

    def search(
        self, query: Output, k: int, attribute_weight: float, required: Mapping[int, bool]
    ) -> Candidates:
        """The k nearest by r among photos whose attributes are as required."""
        if k > MOST_RESULTS:
            raise ValueError(f"k: Milvus gives at most {MOST_RESULTS}, got {k}")
        conditions = [
            f"{'' if wanted else 'not '}array_contains(attributes, {attribute})"
            for attribute, wanted in required.items()
        ]
        with self._errors():
            hits: list[dict[str, Any]] = self.client.search(
                self.collection,
                query_rows(query, attribute_weight).numpy(),
                filter=" and ".join(conditions),
                limit=k,
                output_fields=["file", "vector"],
            )[0]
        d, names = self.store.manifest.embedding_dim, self.store.manifest.attributes
        vectors = np.array([hit["entity"]["vector"] for hit in hits], dtype=np.float32)
        rows = torch.from_numpy(vectors.reshape(len(hits), d + len(names) + 1))
        return Candidates(
            np.array([hit["number"] for hit in hits], dtype=np.int64),
            [self.store.path_of(*json.loads(hit["entity"]["file"])) for hit in hits],
            rows[:, :d],
            rows[:, d:-1],
        )

    def update(self, store: Store) -> None:
        """Brings the collection up to date with the gallery's files.

        What was sent is noted beside the gallery, so an interrupted update is taken up again;
        sending a shard twice changes nothing.
        """
        noted = store.folder / SENT_NAME
        sent = json.loads(noted.read_text()) if noted.is_file() and len(self) else {}
        shards = store.shards()
        for lost in [int(shard) for shard in sent if int(shard) not in shards]:
            self._delete(lost, set(range(CAPACITY)))
            del sent[str(lost)]
        for shard in shards:
            path = store.shard_path(shard)
            changed = path.stat().st_mtime_ns
            if sent.get(str(shard)) != changed:
                self._send(shard, read_shard(path))
                sent[str(shard)] = changed
                write_json(noted, sent)

    def _send(self, number: int, shard: Shard) -> None:
        output = Output(shard.tensors["embedding"], shard.tensors.get("logits"))
        vectors = photo_rows(output).numpy()
        d = self.store.manifest.embedding_dim
        rows = {
            i: {
                "number": CAPACITY * number + i,
                "file": json.dumps(entry[:2]),  # pure ASCII, whatever the name's bytes
                "attributes": np.flatnonzero(vectors[i, d:-1] > PREDICTED).tolist(),
                "vector": vectors[i],
            }
            for i, entry in enumerate(shard.entries)
            if entry is not None
        }
        if rows:
            with self._errors():
                self.client.upsert(self.collection, list(rows.values()))
        self._delete(number, set(range(CAPACITY)) - set(rows))

    def _delete(self, shard: int, slots: set[int]) -> None:
        if slots:
            with self._errors():
                self.client.delete(self.collection, ids=[CAPACITY * shard + i for i in slots])

    def _create(self) -> None:
        schema = self.client.create_schema(auto_id=False)
        schema.add_field("number", DataType.INT64, is_primary=True)
        schema.add_field("file", DataType.VARCHAR, max_length=PATH_BYTES)
        schema.add_field(
            "attributes",
            DataType.ARRAY,
            element_type=DataType.INT16,
            max_capacity=MOST_ATTRIBUTES,
        )
        manifest = self.store.manifest
        width = manifest.embedding_dim + len(manifest.attributes) + 1
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=width)
        index = self.client.prepare_index_params()
        index.add_index("vector", index_type="FLAT", metric_type="IP")
        self.client.create_collection(self.collection, schema=schema, index_params=index)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except MilvusException as error:
            raise ConnectionError(f"{self.uri}: {error.message}") from error
