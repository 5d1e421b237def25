"""Emulated wgmma and its fences, held to the tables of the PTX ISA.

Where an element lies, in shared memory and in registers, is written down here once more, apart from
the emulation and from the kernels.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

pytestmark = pytest.mark.kernels

TYPES = (torch.float16, torch.bfloat16)
IMAGE_BYTES = 32 * 1024
B_AT = 16 * 1024  # in the image; A is at 0


class Mode(NamedTuple):
    """A way to lay out an operand whose depth is contiguous."""

    code: int
    row_bytes: int  # from a row to the next of 8
    group_bytes: int  # from 8 rows to the next 8
    chunk_bytes: int  # from 16 bytes of a row to the next 16
    swizzled: int  # bits of the address that are swizzled


MODES = {
    "not swizzled": Mode(0, 16, 256, 128, 0),
    "128 bytes": Mode(1, 128, 1024, 16, 0b111),
    "64 bytes": Mode(2, 64, 512, 16, 0b011),
    "64 bytes, rows apart": Mode(2, 64, 1024, 16, 0b011),
    "32 bytes": Mode(3, 32, 256, 16, 0b001),
}


def descriptor(mode: Mode, start: int) -> int:
    return (
        start // 16 | mode.chunk_bytes // 16 << 16 | mode.group_bytes // 16 << 32 | mode.code << 62
    )


def lay_out(image: Tensor, operand: Tensor, mode: Mode, start: int) -> None:
    """Puts rows of 16 numbers into the image's bytes, the first number at ``start``."""
    chunks = operand.view(torch.uint8).view(-1, 2, 16)
    for row, of_row in enumerate(chunks):
        for chunk, numbers in enumerate(of_row):
            at = start + row // 8 * mode.group_bytes + row % 8 * mode.row_bytes
            at += chunk * mode.chunk_bytes
            at ^= (at >> 7 & mode.swizzled) << 4
            image[at : at + 16] = numbers


def registers(matrix: Tensor) -> Tensor:
    """D, 64 x 128, as the sums [128, 2, 32] of a warpgroup's threads."""
    # Rows are (warp, half, group of lanes), columns (block, lane of the group, element).
    cut = matrix.view(4, 2, 8, 16, 4, 2)
    return cut.permute(0, 2, 4, 1, 3, 5).reshape(128, 2, 32).contiguous()


@pytest.fixture(scope="module")
def kernels(emulation: tuple[Any, Any]) -> Any:
    return emulation[1]


def operands(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randint(-9, 10, (n, 16), generator=generator).to(dtype) for n in (64, 128))
    return a, b, torch.arange(64 * 128.0).view(64, 128)


def sound_steps(kernels: Any) -> int:
    return int(kernels.PROXY_FENCE | kernels.REGISTER_FENCE | kernels.WAIT)


def multiply(
    kernels: Any,
    steps: int,
    *,
    dtype: torch.dtype = torch.bfloat16,
    modes: tuple[Mode, Mode] = (MODES["64 bytes"], MODES["64 bytes"]),
    offset: int = 0,
    threads: int = 128,
    extra_bits: int = 0,
) -> tuple[Tensor, Tensor]:
    """The sums that a product of a warpgroup leaves, and those that it should leave."""
    a, b, c = operands(dtype)
    image = torch.zeros(IMAGE_BYTES, dtype=torch.uint8)
    starts = offset, B_AT + offset
    for operand, mode, start in zip((a, b), modes, starts, strict=True):
        lay_out(image, operand, mode, start)
    of_a, of_b = (descriptor(mode, start) for mode, start in zip(modes, starts, strict=True))
    sums = registers(c)
    kernels.multiply_by_warpgroup(
        kernels.ScalarType.__members__[str(dtype).removeprefix("torch.")],
        image.data_ptr(),
        of_a | extra_bits,
        of_b,
        sums.data_ptr(),
        steps,
        threads,
    )
    return sums, registers(a.float() @ b.float().T + c)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("of_b", MODES)
@pytest.mark.parametrize("of_a", MODES)
def test_a_warpgroup_multiplies(kernels: Any, of_a: str, of_b: str, dtype: torch.dtype) -> None:
    modes = MODES[of_a], MODES[of_b]
    actual, expected = multiply(kernels, sound_steps(kernels), dtype=dtype, modes=modes)
    assert torch.equal(actual, expected)


@pytest.mark.parametrize("mode", ["64 bytes", "128 bytes"])
def test_a_step_within_swizzled_rows(kernels: Any, mode: str) -> None:
    modes = MODES[mode], MODES[mode]
    actual, expected = multiply(kernels, sound_steps(kernels), modes=modes, offset=32)
    assert torch.equal(actual, expected)


def test_products_follow_on_each_other_without_a_fence(kernels: Any) -> None:
    _, _, c = operands(torch.bfloat16)
    steps = sound_steps(kernels) | kernels.SECOND_PRODUCT
    actual, once = multiply(kernels, steps)
    assert torch.equal(actual, 2 * once - registers(c))


def test_sums_are_there_after_the_wait_alone(kernels: Any) -> None:
    actual, _ = multiply(kernels, sound_steps(kernels) & ~kernels.WAIT)
    assert actual.isnan().all()


@pytest.mark.parametrize(
    ("left_out", "message"),
    [("PROXY_FENCE", "without fence.proxy.async"), ("REGISTER_FENCE", "without wgmma.fence")],
)
def test_a_fence_left_out_is_noticed(kernels: Any, left_out: str, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        multiply(kernels, sound_steps(kernels) & ~getattr(kernels, left_out))


@pytest.mark.parametrize(
    ("added", "message"),
    [
        ("TOUCH_SUMS", "registers of a product that is under way were written"),
        ("TOUCH_OPERANDS", "memory was changed before the product that reads it ended"),
    ],
)
def test_a_write_during_a_product_is_noticed(kernels: Any, added: str, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        multiply(kernels, sound_steps(kernels) | getattr(kernels, added))


def test_all_threads_of_a_warpgroup_must_come(kernels: Any) -> None:
    with pytest.raises(RuntimeError, match="warp operation"):
        multiply(kernels, sound_steps(kernels), threads=96)


def test_a_descriptor_is_checked(kernels: Any) -> None:
    with pytest.raises(RuntimeError, match="base offset"):
        multiply(kernels, sound_steps(kernels), extra_bits=1 << 49)
    with pytest.raises(RuntimeError, match="outside"):
        multiply(kernels, sound_steps(kernels), extra_bits=0x7FF)
