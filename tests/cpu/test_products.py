"""Inner products on the CPU, at sizes that cut groups, panels, blocks and chunks in every way.

Small whole numbers, of which every sum is exact in every order: results must be equal.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

import fgsbir_ext as fx
from tests.support.cases import both
from tests.support.subprocesses import run_python

# Around what is multiplied without packing, at once, in a panel, a block and a chunk.
FEW = (1, 2, 7, 8, 9, 11, 12, 13, 23, 25, 49)
MANY = (1, 15, 31, 33, 64, 65, 255, 257, 1025, 8193)
DEPTHS = (0, 1, 3, 16, 70, 513)


@pytest.fixture(params=[1, 2, 5])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def whole_numbers(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randint(-3, 4, shape, generator=generator).to(dtype)


def distances(x: Tensor, y: Tensor) -> Tensor:
    """Squared, and exact, as no root has a part in them: (N, M) in float64."""
    x, y = x.double(), y.double()
    return x.square().sum(1)[:, None] + y.square().sum(1) - 2 * x @ y.T


def assert_nearest(found: tuple[Tensor, Tensor], distance: Tensor) -> None:
    values, indices = distance.sort(dim=1, stable=True)
    k = found[0].shape[1]
    assert torch.equal(found[0].double(), values[:, :k])
    assert torch.equal(found[1], indices[:, :k])


def check_pairwise(n: int, m: int, d: int, dtype: torch.dtype) -> None:
    x, y = whole_numbers(n, d, dtype=dtype), whole_numbers(m, d, dtype=dtype)
    slopes = whole_numbers(n, m, dtype=dtype)
    x.requires_grad_()
    y.requires_grad_()
    found = fx.pairwise_distance(x, y)
    expected = distances(x, y)
    assert torch.equal(found.double(), expected)
    gradients = torch.autograd.grad(found, (x, y), slopes)
    truth = torch.autograd.grad(expected, (x, y), slopes.double())
    for gradient, true in zip(gradients, truth, strict=True):
        assert torch.equal(gradient, true)


def check_search(n: int, m: int, d: int, dtype: torch.dtype) -> None:
    x, y = whole_numbers(n, d, dtype=dtype), whole_numbers(m, d, dtype=dtype)
    assert_nearest(fx.topk(x, y, min(m, 5)), distances(x, y))


def check_search_by_attributes(n: int, m: int, d: int, dtype: torch.dtype) -> None:
    x, y = whole_numbers(n, d, dtype=dtype), whole_numbers(m, d, dtype=dtype)
    # Probabilities of 1/2 and of 0 or 1 at logits far out: D is a multiple of 1/4.
    u, v = (200 * whole_numbers(rows, d + 1, dtype=dtype).sign() for rows in (n, m))
    found = fx.topk(x, y, min(m, 5), query_logits=u, gallery_logits=v, attribute_weight=0.5)
    assert_nearest(
        found, distances(x, y) + 0.5 * distances(u.double().sigmoid(), v.double().sigmoid())
    )


def check_mining(n: int, m: int, d: int, dtype: torch.dtype) -> None:
    x, y = whole_numbers(n, d, dtype=dtype), whole_numbers(m, d, dtype=dtype)
    labels = both(labels=(torch.arange(n) % 3, torch.arange(m) % 3))
    for found, expected in zip(
        fx.mine_batch_hard(x, y, **labels),
        fx.reference.mine_batch_hard(x.double(), y.double(), **labels),
        strict=True,
    ):
        assert torch.equal(found, expected)


Check = Callable[[int, int, int, torch.dtype], None]
CHECKS: tuple[Check, ...] = (
    check_pairwise,
    check_search,
    check_search_by_attributes,
    check_mining,
)


@pytest.mark.parametrize("check", CHECKS)
def test_every_number_of_rows_and_columns(check: Check, threads: int) -> None:
    for n in FEW:
        for m in MANY:
            check(n, m, 5, torch.float32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("check", CHECKS)
def test_every_depth(check: Check, dtype: torch.dtype, threads: int) -> None:
    for d in DEPTHS:
        check(100, 700, d, dtype)
        check(3, 100, d, dtype)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("check", [check_search, check_search_by_attributes])
def test_a_gallery_of_16_bits_is_read_as_it_is(
    check: Check, dtype: torch.dtype, threads: int
) -> None:
    for n in (1, 3, 13, 100):
        for m, d in ((65, 0), (33, 1), (255, 17), (8193, 70)):
            check(n, m, d, dtype)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("n", [1, 2, 30])
def test_every_number_of_16_bits(dtype: torch.dtype, n: int) -> None:
    bits = torch.arange(-(2**15), 2**15, dtype=torch.int16)
    # 0 and what has exact squares. By bits, as a process may read denormal numbers as 0.
    sizes, (least, most) = bits & 0x7FFF, torch.tensor([1e-15, 1e9]).to(dtype).view(torch.int16)
    numbers = bits[(sizes == 0) | (sizes > least) & (sizes < most)].view(dtype)
    query = torch.zeros(n, 1, dtype=dtype)
    values, indices = fx.topk(query, numbers[:, None], len(numbers), metric="euclidean")
    assert torch.equal(values.double(), numbers[indices].double().abs())
    assert torch.equal(indices[0].sort().values, torch.arange(len(numbers)))


def test_attributes_that_outweigh_everything(threads: int) -> None:
    """Of photos with equal attributes the nearest, to the last digit, under a weight of 1e9."""
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(rows, 8, generator=generator) for rows in (40, 3000))
    u, v = (200 * torch.randn(rows, 5, generator=generator).sign() for rows in (40, 3000))
    differ = (u.double().sigmoid()[:, None] - v.double().sigmoid()).square().sum(2)
    truth = torch.cdist(x.double(), y.double()).square() + 1e9 * differ
    for n in (1, 40):
        weighed = {"query_logits": u[:n], "gallery_logits": v, "attribute_weight": 1e9}
        _, nearest = fx.topk(x[:n], y, 1, **weighed)
        assert torch.equal(nearest[:, 0], truth[:n].argmin(1))


@pytest.mark.parametrize("metric", ["sqeuclidean", "euclidean", "cosine"])
@pytest.mark.parametrize("n", [3, 200])
def test_a_photo_is_at_distance_0_from_itself(n: int, metric: str, threads: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x, u = (torch.randn(200, size, generator=generator) for size in (67, 9))
    logits = {"query_logits": u[:n], "gallery_logits": u}
    values, indices = fx.topk(x[:n], x, 1, metric=metric, **logits, attribute_weight=0.7)
    assert (values == 0).all()
    assert torch.equal(indices[:, 0], torch.arange(n))


@pytest.mark.parametrize("attribute_metric", ["sqeuclidean", "euclidean", "cross_entropy"])
@pytest.mark.parametrize("where", ["query_logits", "gallery_logits"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_single_nan_is_nearest(
    dtype: torch.dtype, where: str, attribute_metric: str, threads: int
) -> None:
    """Also in a block of photos that are far."""
    for n, row in ((1, 0), (5, 4), (9, 8), (30, 7)):
        generator = torch.Generator().manual_seed(n)
        x, u = (torch.randn(n, size, generator=generator).to(dtype) for size in (16, 5))
        y, v = (torch.randn(1000, size, generator=generator).to(dtype) for size in (16, 5))
        logits = {"query_logits": u, "gallery_logits": v}
        photo = 901
        logits[where][row if where == "query_logits" else photo, 3] = torch.nan
        values, indices = fx.topk(
            x, y, 2, **logits, attribute_weight=0.5, attribute_metric=attribute_metric
        )
        if where == "query_logits":
            assert values[row].isnan().all()
            assert indices[row].tolist() == [0, 1]
            assert values.isnan().sum() == 2
        else:
            assert values[:, 0].isnan().all()
            assert (indices[:, 0] == photo).all()
            assert not values[:, 1].isnan().any()


@pytest.mark.parametrize("n", [1, 12])
def test_attributes_decide_where_norms_overflow(n: int) -> None:
    query = torch.full((n, 2), 1.2e19)
    gallery = query[:1].repeat(300, 1)
    u, v = torch.zeros(n, 4), torch.randn(300, 4, generator=torch.Generator().manual_seed(0))
    weighed = {"query_logits": u, "gallery_logits": v, "attribute_weight": 1.0}
    _, nearest = fx.topk(query, gallery, 3, **weighed)
    expected = (v.sigmoid() - 0.5).square().sum(1).argsort()[:3]
    assert torch.equal(nearest, expected.expand(n, 3))


@pytest.mark.parametrize("n", [1, 12])
def test_cross_entropy_of_logits_without_bounds(n: int) -> None:
    """0 times infinity is a NaN, and so nearest; what nearly overflows is far."""
    x, y = torch.zeros(n, 2), torch.zeros(300, 2)
    v = torch.zeros(300, 8)
    v[50, 1], v[60] = -torch.inf, 1e38
    for logit in (-1000.0, 3.0):
        u = torch.full((n, 8), logit)
        options = {"k": 300, "attribute_weight": 1.0, "attribute_metric": "cross_entropy"}
        _, found = fx.topk(x, y, query_logits=u, gallery_logits=v, **options)
        double = {"query_logits": u.double(), "gallery_logits": v.double()}
        _, expected = fx.reference.topk(x.double(), y.double(), **double, **options)
        assert torch.equal(found, expected)


@pytest.mark.parametrize("n", [1, 100])
def test_photos_that_are_the_same_tie_wherever_they_are(n: int, threads: int) -> None:
    """A product is the same sum wherever it is computed, so the lowest index wins."""
    generator = torch.Generator().manual_seed(0)
    some = torch.randn(1000, 67, generator=generator)
    gallery = some.repeat(5, 1)
    anchors = torch.randn(n, 67, generator=generator)
    _, nearest = fx.topk(anchors, gallery, 1)
    assert (nearest < 1000).all()
    labels = torch.zeros(n, dtype=torch.int64), 1 + torch.arange(5000)
    labels[1][4999] = 0  # the positive
    _, negative, _ = fx.mine_batch_hard(anchors, gallery, **both(labels=labels))
    assert torch.equal(negative, nearest[:, 0])


@pytest.mark.skipif(platform.machine() != "x86_64", reason="has no other instruction sets")
@pytest.mark.parametrize("instruction_set", ["baseline", "avx2"])
def test_narrower_instruction_sets(instruction_set: str) -> None:
    code = """
        import torch
        from tests.cpu.test_products import CHECKS

        for check in CHECKS:
            for dtype in (torch.float32, torch.float64):
                for n, m, d in ((1, 70, 5), (13, 300, 33), (100, 2100, 70), (24, 65, 0)):
                    check(n, m, d, dtype)
        print(1)
    """
    assert run_python(code, FGSBIR_INSTRUCTION_SET=instruction_set) == 1
