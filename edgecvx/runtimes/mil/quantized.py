"""What MIL's operations between integers and floats compute, in plain numpy, as Apple describes them.

``quantize`` is ``clip(round(x / scale) + zero_point)`` and ``dequantize`` is ``scale * (q - zero_point)``, with one
scale and zero point, or a vector of them along ``axis``. The description does not say how a half is rounded; Core ML
Tools rounds it to the even neighbour, and so does this.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Arguments: TypeAlias = Mapping[str, Any]

INTEGERS = ("int8", "uint8")


def quantize(a: Arguments) -> Array:
    """Floats to the integers nearest to them; what lies outside becomes the smallest or the largest."""
    x, kind = a["input"], a["output_dtype"]
    if x.dtype.kind != "f" or kind not in INTEGERS:
        raise ValueError(f"it makes int8 or uint8 of floats, not {kind} of {x.dtype}")
    scale, zero_point = _grid(a, x, a.get("axis"), kind)
    steps = x / scale
    np.rint(steps, out=steps)
    if np.any(zero_point):
        steps += zero_point
    if np.isnan(np.min(steps)):  # NaN makes any minimum NaN
        raise ValueError("a value to be quantized is not a number, which no integer stands for")
    limits = np.iinfo(kind)
    np.clip(steps, limits.min, limits.max, out=steps)
    q: Array = steps.astype(kind)
    return q


def dequantize(a: Arguments) -> Array:
    """The numbers the integers of an activation stand for."""
    return _floats(a, a["input"], a.get("axis"))


def affine_dequantize(a: Arguments) -> Array:
    """The numbers the integers of a constant stand for; here the axis is given even with one scale for all of it."""
    axis = int(a["axis"])
    _check_axis(axis, a["quantized_data"].ndim)
    return _floats(a, a["quantized_data"], axis if np.ndim(a["scale"]) or np.ndim(a["zero_point"]) else None)


def _floats(a: Arguments, q: Array, axis: Any) -> Array:
    if str(q.dtype) not in INTEGERS:
        raise ValueError(f"it reads int8 or uint8, not {q.dtype}")
    scale, zero_point = _grid(a, q, axis, str(q.dtype))
    y: Array = q.astype(np.float32)
    if np.any(zero_point):
        y -= zero_point
    y *= scale
    return y


def _grid(a: Arguments, x: Array, axis: Any, kind: str) -> tuple[Array, Array]:
    """Scale and zero point, of a shape that goes with ``x``."""
    scale, zero_point = np.asarray(a["scale"], np.float32), np.asarray(a.get("zero_point", 0), np.float32)
    if not (np.isfinite(scale).all() and (scale > 0).all()):
        raise ValueError("a scale is not a positive number")
    limits = np.iinfo(kind)
    if not ((zero_point >= limits.min) & (zero_point <= limits.max)).all():
        raise ValueError(f"a zero point is outside {kind}")
    if axis is None and (scale.ndim or zero_point.ndim):
        raise ValueError("there are several scales or zero points, and no axis to say along what")
    return _along(x, scale, axis, "scales"), _along(x, zero_point, axis, "zero points")


def _along(x: Array, parameter: Array, axis: Any, what: str) -> Array:
    if parameter.ndim == 0:
        return parameter
    place = _check_axis(int(axis), x.ndim)
    if parameter.shape != (x.shape[place],):
        raise ValueError(f"{list(parameter.shape)} {what} do not go with axis {place} of {list(x.shape)}")
    return parameter.reshape([-1 if d == place else 1 for d in range(x.ndim)])


def _check_axis(axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise ValueError(f"there is no axis {axis} in {rank} dimensions")
    return axis % rank
