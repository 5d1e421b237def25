"""Indexes of a gallery: exact in memory, by the cells of faiss, in a database."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from fgsbir.gallery import Gallery, indexes
from fgsbir.gallery.indexes import KINDS, Index, Kind, checked_index, open_index
from fgsbir.gallery.inner_product import photo_rows, probabilities, query_rows
from fgsbir.gallery.match import Ranking
from fgsbir.gallery.store import Store
from fgsbir.models import Output
from fgsbir.models.checkpoint import encode_run
from tests.support.gallery_cases import DIM, fill, random_rows, save_model
from tests.support.paths import ROOT

COUNT = 600  # three shards
URI = {name: ":URI" if kind.takes_uri else "" for name, kind in KINDS.items()}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A gallery of photos that are nowhere."""
    run = save_model(tmp_path / "run")
    return Store.create(tmp_path / "gallery", encode_run(run), run)


@pytest.fixture(params=KINDS)
def name(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Every index whose package is here, databases in their embedded form."""
    if request.param == "milvus":
        pytest.importorskip("milvus_lite")
    name = request.param + (f":{tmp_path}/photos.db" if KINDS[request.param].takes_uri else "")
    try:
        return checked_index(name)
    except ValueError as missing:
        pytest.skip(str(missing))


def queries(count: int = 20) -> list[Output]:
    rows = random_rows(count, seed=5)
    assert rows.logits is not None
    return [Output(rows.embedding[i : i + 1], rows.logits[i : i + 1]) for i in range(count)]


def distances(query: Output, rows: Output, mu: float) -> torch.Tensor:
    """r of every row, in double precision: (N,)."""
    a, b = probabilities(query).double(), probabilities(rows).double()
    d = (query.embedding.double() - rows.embedding.double()).square().sum(1)
    return d + mu * (a - b).square().sum(1)


def found(
    index: Index, query: Output, k: int, mu: float, required: dict[int, bool] | None = None
) -> list[int]:
    candidates = index.search(query, k, mu, required or {})
    return Ranking(query, candidates, mu).numbers[:k].tolist()


def recall(index: Index, rows: Output, mu: float, live: torch.Tensor, k: int = 10) -> float:
    """Mean share of the true k nearest among the live rows that the index finds."""
    shares = []
    for query in queries():
        r = distances(query, rows, mu).masked_fill(~live, torch.inf)
        shares.append(
            len({*r.topk(k, largest=False).indices.tolist()} & {*found(index, query, k, mu)}) / k
        )
    return float(np.mean(shares))


@pytest.mark.parametrize("mu", [0.0, 0.3, 5.0])
def test_one_inner_product_ranks_for_every_weight(mu: float) -> None:
    rows = random_rows(50)
    for query in queries(5):
        scores = (query_rows(query, mu).double() @ photo_rows(rows).double().T)[0]
        constant = distances(query, rows, mu) + scores
        torch.testing.assert_close(constant, constant[:1].expand(50), atol=1e-5, rtol=0)


@pytest.mark.parametrize("mu", [0.0, 0.3, 5.0])
def test_finds_the_nearest(store: Store, name: str, mu: float) -> None:
    rows = random_rows(COUNT)
    fill(store, rows)
    index = open_index(store, name, update=True)
    assert len(index) == COUNT
    least = 0.9 if name == "faiss" else 1.0
    assert recall(index, rows, mu, torch.ones(COUNT, dtype=torch.bool)) >= least


@pytest.mark.parametrize("required", [{0: True}, {0: True, 1: False, 3: True}])
def test_filters_by_attributes(store: Store, name: str, required: dict[int, bool]) -> None:
    rows = random_rows(COUNT)
    fill(store, rows)
    index = open_index(store, name, update=True)
    on = probabilities(rows) > 0.5
    passing = torch.ones(COUNT, dtype=torch.bool)
    for attribute, wanted in required.items():
        passing &= on[:, attribute] == wanted
    assert 10 < passing.sum() < COUNT
    for query in queries(5):
        r = distances(query, rows, 0.3).masked_fill(~passing, torch.inf)
        everything = r.argsort()[: int(passing.sum())].tolist()
        # All that pass come back, however few cells are looked into at first.
        assert found(index, query, COUNT, 0.3, required) == everything
        ten = found(index, query, 10, 0.3, required)
        assert len(ten) == 10
        assert passing[ten].all()
        assert name == "faiss" or ten == everything[:10]


def test_follows_the_gallery(store: Store, name: str) -> None:
    rows = random_rows(COUNT)
    assert rows.logits is not None
    first = Output(rows.embedding[:400], rows.logits[:400])
    rest = Output(rows.embedding[400:], rows.logits[400:])
    assert len(open_index(store, name, update=True)) == 0
    fill(store, first)
    open_index(store, name, update=True)
    fill(store, rest, first=400)
    removed = [3, 255, 256, 599]
    with store.writing():
        store.remove(removed)
    live = torch.ones(COUNT, dtype=torch.bool)
    live[removed] = False
    for update in (True, False):
        index = open_index(Store(store.folder), name, update=update)
        assert len(index) == COUNT - 4
        assert recall(index, rows, 0.3, live) >= (0.9 if name == "faiss" else 1.0)
        assert index.numbers(5) == [0, 1, 2, 4, 5]
        assert index.numbers(10 * COUNT) == live.nonzero().squeeze(1).tolist()
        assert index.path(4) == "/nowhere/4.png"
        for number in (3, COUNT):
            with pytest.raises(IndexError, match=f"number {number}"):
                index.path(number)


def test_all_answer_an_empty_gallery(store: Store, name: str) -> None:
    index = open_index(store, name)
    for required in ({}, {0: True}):
        assert found(index, queries(1)[0], 3, 0.3, required) == []


def test_rows_survive_the_disk(store: Store) -> None:
    rows = random_rows(COUNT)
    photos = fill(store, rows)
    read = Store(store.folder).read()
    assert read.numbers.tolist() == list(range(COUNT))
    assert read.paths == [photo.path for photo in photos]
    assert torch.equal(read.output.embedding, rows.embedding)
    assert read.output.logits is not None
    assert torch.equal(read.output.logits, rows.logits)
    with store.writing():
        store.remove(range(100, 300))
        store.remove([599])
    left = [i for i in range(599) if not 100 <= i < 300]
    assert store.read().numbers.tolist() == left
    assert torch.equal(store.read().output.embedding, rows.embedding[left])
    fill(store, random_rows(1, seed=9), first=COUNT)
    assert store.read().numbers.tolist() == [*left, COUNT]  # 599 is not used again
    assert {number: photo.path for number, photo in store.photos().items()} == {
        i: f"/nowhere/{i}.png" for i in (*left, COUNT)
    }


def test_the_cells_of_faiss_are_kept_and_mended(store: Store) -> None:
    pytest.importorskip("faiss")
    rows = random_rows(COUNT)
    fill(store, rows)
    open_index(store, "faiss", update=True)
    file = store.folder / "ivf.faiss"
    kept = file.read_bytes()
    open_index(store, "faiss")
    assert file.read_bytes() == kept
    # As a kill between the photos and the cells leaves it:
    fill(store, random_rows(100, seed=2), first=COUNT)
    assert len(found(open_index(store, "faiss"), queries(1)[0], COUNT + 100, 0.0)) == COUNT + 100
    file.write_bytes(kept[:1000])
    with pytest.raises(ValueError, match=r"ivf\.faiss: damaged"):
        open_index(store, "faiss")


def test_a_database_that_was_emptied_is_filled_again(store: Store, tmp_path: Path) -> None:
    pytest.importorskip("milvus_lite")
    fill(store, random_rows(COUNT))
    open_index(store, f"milvus:{tmp_path}/one.db", update=True)
    again = open_index(store, f"milvus:{tmp_path}/two.db", update=True)
    assert len(again) == COUNT
    store.shard_path(1).unlink()  # a damaged one: its photos go, until they are indexed again
    assert len(open_index(store, f"milvus:{tmp_path}/two.db", update=True)) == COUNT - 256
    with pytest.raises(ValueError, match="at most 16384, got 20000"):
        again.search(queries(1)[0], 20000, 0.0, {})


def test_a_database_that_does_not_answer(store: Store) -> None:
    pytest.importorskip("pymilvus")
    with pytest.raises(ConnectionError, match=r"http://127\.0\.0\.1:9"):
        open_index(store, "milvus:http://127.0.0.1:9")


@pytest.mark.parametrize(
    "name",
    ["", "annoy", "milvus", "exact:1", *(name + (":" if URI[name] else ":x") for name in KINDS)],
)
def test_unknown_names(name: str) -> None:
    *all_but_last, last = (f"'{known}{URI[known]}'" for known in KINDS)
    message = f"index: expected {', '.join(all_but_last)} or {last}, got {name!r}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        checked_index(name)


@pytest.mark.parametrize(("kind", "package"), [("faiss", "faiss"), ("milvus:x.db", "pymilvus")])
def test_a_missing_package_is_named(
    kind: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("fgsbir.gallery.faiss_index", "fgsbir.gallery.milvus_index"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, package, None)  # importing it now fails
    extra = kind.partition(":")[0]
    with pytest.raises(ValueError, match=rf"needs {package}: pip install 'fgsbir-ext\[{extra}\]'"):
        checked_index(kind)


@pytest.mark.parametrize(("name", "kind"), KINDS.items())
def test_every_kind_names_an_extra_that_there_is(
    name: str, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: str) -> None:
        raise ModuleNotFoundError(name="annoy")

    monkeypatch.setattr(indexes, "import_module", fail)
    message = rf"index: '{name}' needs annoy: pip install 'fgsbir-ext\[{kind.extra}\]'"
    with pytest.raises(ValueError, match=message):
        checked_index(name + URI[name])
    assert f"\n{kind.extra} = [" in (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize("name", KINDS)
def test_the_documentation_lists_every_kind(name: str) -> None:
    assert f"\n| `{name}{URI[name]}`" in (ROOT / "docs" / "gallery.md").read_text()


def test_a_gallery_keeps_its_index(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("faiss")
    fill(store, random_rows(COUNT))
    Gallery.create(tmp_path / "run", store.folder, index="faiss")
    assert Store(store.folder).manifest.index == "faiss"
    sketch = np.full((64, 64), 255, np.uint8)
    sketch[20:40, 30] = 0
    found = [m.index for m in Gallery.load(store.folder).search(sketch)]
    exact = [m.index for m in Gallery.load(store.folder, index="exact").search(sketch)]
    assert len({*found} & {*exact}) >= 8
    assert Store(store.folder).manifest.embedding_dim == DIM
    monkeypatch.chdir(tmp_path)
    assert checked_index("milvus:here.db") == f"milvus:{tmp_path}/here.db"
