"""What each MIL operation computes, in plain numpy.

Written from Apple's description of the operations, for the ones edgecvx's files hold and the near ones. Arguments come
as float32 whatever the file's precision (`executor` rounds the results): a sum inside one operation is
carried in float32, as the Neural Engine's and every other accumulator is at least.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgecvx.errors import RuntimeFailedError
from edgecvx.runtimes.mil.quantized import affine_dequantize, dequantize, quantize

Array: TypeAlias = NDArray[Any]
Arguments: TypeAlias = Mapping[str, Any]


def conv(a: Arguments) -> Array:
    """Convolution over NCHW, grouped or not: one product per tap of the kernel, summed."""
    x, weight = a["x"], a["weight"]
    if x.ndim != 4 or weight.ndim != 4:
        raise RuntimeFailedError(f"conv: input {x.shape} and weight {weight.shape} are not of two dimensions")
    strides, dilations = _pair(a, "strides"), _pair(a, "dilations")
    groups = int(a.get("groups", 1))
    batch, channels = x.shape[:2]
    outputs, per_group, *kernel = weight.shape
    if channels != per_group * groups or outputs % groups:
        raise RuntimeFailedError(f"conv: {channels} channels in {groups} groups do not fit the weight {weight.shape}")
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    padding = _padding(a, x.shape[2:], reach, strides)
    if padding != [(0, 0), (0, 0)]:
        x = np.pad(x, [(0, 0), (0, 0), *padding])
    size = [(n - r) // s + 1 for n, r, s in zip(x.shape[2:], reach, strides, strict=True)]
    grouped = weight.reshape(groups, outputs // groups, per_group, *kernel)
    y = np.zeros((batch, groups, outputs // groups, size[0] * size[1]), np.float32)
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            rows = slice(i * dilations[0], i * dilations[0] + (size[0] - 1) * strides[0] + 1, strides[0])
            columns = slice(j * dilations[1], j * dilations[1] + (size[1] - 1) * strides[1] + 1, strides[1])
            seen = x[:, :, rows, columns].reshape(batch, groups, per_group, -1)
            tap = grouped[..., i, j]
            y += tap * seen if per_group == 1 else tap @ seen
    if (bias := a.get("bias")) is not None:
        y += bias.reshape(groups, -1, 1)
    return y.reshape(batch, outputs, *size)


def linear(a: Arguments) -> Array:
    """``x @ weight.T + bias``."""
    y: Array = a["x"] @ a["weight"].T
    return y if a.get("bias") is None else y + a["bias"]


def layer_norm(a: Arguments) -> Array:
    """Normalization over ``axes``, with scale and shift where they are given."""
    x, axes = a["x"], _axes(a)
    centred = x - x.mean(axis=axes, keepdims=True)
    y: Array = centred / np.sqrt(np.square(centred).mean(axis=axes, keepdims=True) + np.float32(a.get("epsilon", 1e-5)))
    shape = [n if d in axes else 1 for d, n in enumerate(x.shape)]
    if a.get("gamma") is not None:
        y = y * a["gamma"].reshape(shape)
    if a.get("beta") is not None:
        y = y + a["beta"].reshape(shape)
    return y


def gelu(a: Arguments) -> Array:
    """GELU, exact or one of its two approximations."""
    x: Array = a["x"]
    mode = a.get("mode", "EXACT")
    if mode == "EXACT":
        share: Array = 0.5 * (1 + erf(x * math.sqrt(0.5)))
    elif mode == "TANH_APPROXIMATION":
        share = 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    elif mode == "SIGMOID_APPROXIMATION":
        share = sigmoid(1.702 * x)
    else:
        raise RuntimeFailedError(f"gelu: mode {mode!r} is not one of MIL's")
    return x * share


def erf(x: Array) -> Array:
    """The error function, off by less than 1e-11: a Taylor polynomial about the nearest point of a table."""
    flat = np.ascontiguousarray(x).reshape(-1)
    y = np.empty_like(flat)
    for start in range(0, flat.size, _ERF_BLOCK):
        block = slice(start, start + _ERF_BLOCK)
        y[block] = _erf_block(flat[block])
    return y.reshape(x.shape)


def _erf_block(x: Array) -> Array:
    value, slope = _ERF
    z = np.clip(x.astype(np.float64), -_ERF_END, _ERF_END)
    nearest = np.nan_to_num(np.rint(z * _ERF_STEPS))  # NaN stays in z, and comes out again
    index = nearest.astype(np.int64) + _ERF_END * _ERF_STEPS
    at = nearest / _ERF_STEPS
    d = z - at
    y: Array = value[index] + slope[index] * d * (1 - d * at + d * d * (2 * at * at - 1) / 3)
    return y.astype(x.dtype)


def sigmoid(x: Array) -> Array:
    """``1 / (1 + exp(-x))``, without overflow on either side."""
    e = np.exp(-np.abs(x))
    y: Array = np.where(x >= 0, 1, e) / (1 + e)
    return y


def softmax(a: Arguments) -> Array:
    """Softmax along ``axis``."""
    axis = int(a.get("axis", -1))
    e: Array = np.exp(a["x"] - a["x"].max(axis=axis, keepdims=True))
    y: Array = e / e.sum(axis=axis, keepdims=True)
    return y


def cast(a: Arguments) -> Array:
    """To another type; the executor rounds to it."""
    known = {"fp16": np.float16, "fp32": np.float32, "int32": np.int32, "int8": np.int8, "uint8": np.uint8}
    if a["dtype"] not in known:
        raise RuntimeFailedError(f"cast: to {a['dtype']!r} is not one edgecvx reads")
    y: Array = a["x"].astype(known[a["dtype"]])
    return y


def _reduction(f: Callable[..., Array]) -> Callable[[Arguments], Array]:
    return lambda a: f(a["x"], axis=_axes(a), keepdims=bool(a.get("keep_dims", False)))


def _binary(f: Callable[[Array, Array], Array]) -> Callable[[Arguments], Array]:
    return lambda a: f(a["x"], a["y"])


def _unary(f: Callable[[Array], Array]) -> Callable[[Arguments], Array]:
    return lambda a: f(a["x"])


def _axes(a: Arguments) -> tuple[int, ...]:
    rank = a["x"].ndim
    axes = a.get("axes")
    return tuple(range(rank)) if axes is None else tuple(int(d) % rank for d in np.ravel(axes))


def _pair(a: Arguments, name: str) -> tuple[int, int]:
    value = a.get(name)
    if value is None:
        return 1, 1
    first, second = (int(v) for v in value)
    return first, second


def _padding(a: Arguments, size: tuple[int, ...], reach: list[int], strides: tuple[int, int]) -> list[tuple[int, int]]:
    """Rows and columns of zeros before and after each axis."""
    kind = a.get("pad_type", "valid")
    if kind == "valid":
        return [(0, 0), (0, 0)]
    if kind == "custom":
        top, bottom, left, right = (int(p) for p in a["pad"])
        return [(top, bottom), (left, right)]
    if kind not in ("same", "same_lower"):
        raise RuntimeFailedError(f"conv: pad_type {kind!r} is not one of MIL's")
    needed = [max((-(-n // s) - 1) * s + r - n, 0) for n, r, s in zip(size, reach, strides, strict=True)]
    if kind == "same":
        return [(n // 2, n - n // 2) for n in needed]
    return [(n - n // 2, n // 2) for n in needed]


_ERF_BLOCK = 1 << 14
"""Numbers at a time: a dozen temporaries of them stay in the processor's cache, which is four times as fast."""
_ERF_END, _ERF_STEPS = 6, 256
_AT = np.arange(-_ERF_END * _ERF_STEPS, _ERF_END * _ERF_STEPS + 1) / _ERF_STEPS
_ERF = (np.array([math.erf(t) for t in _AT]), 2 / math.sqrt(math.pi) * np.exp(-_AT * _AT))
"""erf and its derivative from -6 to 6, beyond which it is 1 in float64."""

OPS: Mapping[str, Callable[[Arguments], Array]] = {
    "abs": _unary(np.abs),
    "add": _binary(np.add),
    "cast": cast,
    "conv": conv,
    "dequantize": dequantize,
    "exp": _unary(np.exp),
    "gelu": gelu,
    "identity": _unary(lambda x: x),
    "layer_norm": layer_norm,
    "linear": linear,
    "maximum": _binary(np.maximum),
    "minimum": _binary(np.minimum),
    "mul": _binary(np.multiply),
    "quantize": quantize,
    "real_div": _binary(np.divide),
    "reduce_l2_norm": _reduction(lambda x, **axes: np.sqrt(np.square(x).sum(**axes))),
    "reduce_max": _reduction(np.max),
    "reduce_mean": _reduction(np.mean),
    "reduce_min": _reduction(np.min),
    "reduce_sum": _reduction(np.sum),
    "relu": _unary(lambda x: np.maximum(x, 0)),
    "reshape": lambda a: a["x"].reshape([int(d) for d in a["shape"]]),
    "rsqrt": lambda a: 1 / np.sqrt(a["x"] + np.float32(a.get("epsilon", 1e-12))),
    "sigmoid": _unary(sigmoid),
    "silu": _unary(lambda x: x * sigmoid(x)),
    "softmax": softmax,
    "sqrt": _unary(np.sqrt),
    "square": _unary(np.square),
    "sub": _binary(np.subtract),
    "tanh": _unary(np.tanh),
    "transpose": lambda a: a["x"].transpose([int(d) for d in a["perm"]]),
}
"""MIL operation -> what it computes."""

CONSTANT_OPS: Mapping[str, Callable[[Arguments], Array]] = {"constexpr_affine_dequantize": affine_dequantize}
"""MIL operation on constants -> what it computes, once, when a package is opened."""
