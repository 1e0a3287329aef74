"""Constants in float16: one rule for every format of what float16 can hold."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgecvx.errors import ExportError

LOSS = 0.01
"""How much of its norm an array may lose as float16: rounding costs about 2**-12, only numbers too small cost more."""
_ADDED = {"Conv": 2, "Gemm": 2, "Grn": 1, "GrnL2": 1}
"""Canonical operations -> which of their inputs is added to what they compute; GRN's gamma is, to a base."""


def to_half(name: str, array: NDArray[np.generic], *, added: bool = False) -> NDArray[np.float16]:
    """Rounds a constant to float16.

    Args:
        name: What it is called, for the message.
        array: Its numbers.
        added: Whether it is only added to something, see ``is_added``: what is too small of it is below 2**-25, and
            nothing beside what it is added to. A factor that is too small takes with it all that it multiplies.

    Raises:
        ExportError: It does not fit: a number becomes infinite, or a factor loses more than ``LOSS`` of its norm.
    """
    with np.errstate(over="ignore"):
        half = np.asarray(array).astype(np.float16)
    exact = np.asarray(array, dtype=np.float64)
    largest = float(np.abs(exact).max(initial=0.0))
    if not np.isfinite(half).all():
        raise _refusal(f"{name!r} holds {largest:.4g}, and float16 ends at 65504")
    if not added and np.linalg.norm((half - exact).ravel()) > LOSS * np.linalg.norm(exact.ravel()):
        raise _refusal(f"{name!r} holds nothing above {largest:.4g}, too small for float16")
    return half


def is_added(constant: ir.Value | None) -> bool:
    """Whether a constant of the graph is added wherever it is used: a bias, an offset."""
    uses = () if constant is None else constant.uses()
    return all(use.node.op_type == "Add" or _ADDED.get(use.node.op_type) == use.idx for use in uses)


def _refusal(why: str) -> ExportError:
    return ExportError(f"{why}: export this model with --precision fp32")
