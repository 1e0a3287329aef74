"""What the tests share: a small network, seeded inputs, and one comparison, tested in ``test_support.py``."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgecvx.spec import ArchSpec

if TYPE_CHECKING:
    from edgecvx.models.convnext import ConvNeXt

ROOT = Path(__file__).parents[2]
PATHS = os.pathsep.join(str(ROOT / folder) for folder in (".", "tests/support", "tests/samples"))
"""``PYTHONPATH`` of a process that imports the package, and what the tests share."""

SMALL = ArchSpec(name="convnextv2_small_for_tests", depths=(1, 1, 2, 1), dims=(8, 16, 24, 32))
"""Every kind of layer of a real variant, a hundredth of its arithmetic."""


def arch(**changes: Any) -> ArchSpec:
    """The small architecture with some fields changed: ``arch(grn=False, act="silu")``.

    ``arch(stem="overlap")`` needs no ``stem_mid``: half of the first width stands in for it.
    """
    if changes.get("stem", "patch") != "patch":
        changes.setdefault("stem_mid", SMALL.dims[0] // 2)
    return dataclasses.replace(SMALL, **changes)


def network(num_classes: int = 10, seed: int = 0, **changes: Any) -> ConvNeXt:
    """A seeded small network in which every part matters, GRN included; keywords as in ``arch``."""
    from edgecvx.models.convnext import ConvNeXt, initialize

    return initialize(ConvNeXt(arch(**changes), num_classes), seed)


def probe(batch: int = 1, size: int = 64, seed: int = 0) -> NDArray[np.float32]:
    """Seeded float32 NCHW pictures, distributed as normalized ones are."""
    return np.random.default_rng(seed).standard_normal((batch, 3, size, size), dtype=np.float32)


def relative_error(actual: ArrayLike, expected: ArrayLike) -> float:
    """The largest difference, as a part of the largest expected value.

    Raises:
        AssertionError: The two cannot be compared: other shapes, values that are not finite, or an expected array that
            is constant, which a file that computes nothing could match.
    """
    a, e = np.asarray(actual, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    assert a.shape == e.shape, f"shape {a.shape} instead of {e.shape}"
    assert e.size and np.isfinite(e).all(), "the expected array is empty or not finite: the test itself is wrong"
    assert np.ptp(e) > 0, "the expected array is constant: nothing is proved by matching it"
    assert np.isfinite(a).all(), f"{np.count_nonzero(~np.isfinite(a))} of {a.size} values are not finite"
    return float(np.abs(a - e).max() / np.abs(e).max())


def assert_close(actual: ArrayLike, expected: ArrayLike, rtol_of_range: float, *, why: str) -> None:
    """Holds ``actual`` within ``rtol_of_range`` of ``expected``'s largest absolute value.

    Args:
        actual: What the product computed; an array or a tensor without gradient.
        expected: The reference.
        rtol_of_range: The largest error allowed, as a part of the largest expected value.
        why: Where the tolerance comes from; printed when it is exceeded.
    """
    error = relative_error(actual, expected)
    assert error <= rtol_of_range, f"error {error:.3g} of the largest value, over {rtol_of_range:.3g} ({why})"
