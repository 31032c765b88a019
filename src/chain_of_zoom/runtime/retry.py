"""Compute again in float32 what a network made unusable in fewer bits: infinite, NaN, or flat without a reason.

Half precision ends at 65504 and bfloat16 has 8 bits, so activations of a rare picture overflow; in float32 they do not.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")


def is_usable(result: NDArray[Any], *, may_be_flat: bool = True) -> bool:
    """Return whether every value of a result is finite, and whether they differ unless it may be flat."""
    return bool(np.isfinite(result).all()) and (may_be_flat or float(np.ptp(result)) > 0)


def name_dtype(dtype: object) -> str:
    """Return the name of a float type of torch, such as "float16"."""
    return str(dtype).removeprefix("torch.")


def retry_in_float32(
    result: T,
    dtype: object,
    in_float32: Callable[[], AbstractContextManager[None]],
    *,
    is_usable: Callable[[T], bool],
    compute: Callable[[], T],
    tell: Callable[[str], None],
) -> T:
    """Return a result that is usable, or that float32 cannot better, or else another one computed in float32.

    dtype: the float type of torch that the network computed in. in_float32: a context in which it computes in float32.
    tell: receives the name of `dtype` before the second computation, whose result is returned, be it usable or not.
    """
    name = name_dtype(dtype)
    if name == "float32" or is_usable(result):
        return result
    tell(name)
    with in_float32():
        return compute()
