"""Validation of the options of mining and of the loss, once where they come in."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, get_args, get_origin, get_type_hints

from . import _checks as checks
from .types import LossOptions, MiningOptions


def _check_of(option: str, of_type: Any) -> Callable[..., Any]:
    if get_origin(of_type) is Literal:
        return partial(checks.choice, options=get_args(of_type))
    if of_type == float | None:
        return checks.margin
    assert of_type is float, of_type
    return partial(checks.number, infinite=option == "attribute_guidance")


_CHECKS = {name: _check_of(name, of) for name, of in get_type_hints(LossOptions).items()}


def loss_options(**options: Any) -> LossOptions:
    """Options of :func:`fgsbir_ext.attribute_triplet_loss` by name, checked.

    Raises:
        TypeError, ValueError: A bad option, named in the message.
    """
    return LossOptions(**_checked(options))


def mining_options(**options: Any) -> MiningOptions:
    """Options of :func:`fgsbir_ext.mine_batch_hard` by name, checked.

    Raises:
        TypeError, ValueError: A bad option, named in the message.
    """
    return MiningOptions(**_checked(options))


def _checked(options: dict[str, Any]) -> dict[str, Any]:
    return {name: _CHECKS[name](name, value) for name, value in options.items()}
