"""Rounding to float16 without its type: as numpy rounds, to the bit."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecvx.runtimes.mil.half import half

F = np.float32


def decisive() -> NDArray[np.float32]:
    """Every float16, the numbers halfway between neighbours, and the float32 just beside those."""
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(F)
    finite = np.sort(halves[np.isfinite(halves)]).astype(np.float64)
    middles = ((finite[1:] + finite[:-1]) / 2).astype(F)
    ends = np.array([65504, 65519.99, 65520, 7e4, 3e38, 1e-45, 2.0**-25, 1.5 * 2.0**-25, 0.0], F)
    beside = [np.nextafter(middles, F(side)) for side in (np.inf, -np.inf)]
    return np.concatenate([halves, middles, *beside, ends, -ends])


def by_numpy(x: NDArray[np.float32]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        return x.astype(np.float16).astype(F)


@pytest.mark.parametrize("order", ["as listed", "by size"])
def test_every_number_is_rounded_as_numpy_does(order: str) -> None:
    """By size, whole blocks are free of infinities and take the fast way."""
    x = decisive() if order == "as listed" else np.sort(np.nan_to_num(decisive(), nan=1.0))
    rounded, expected = half(x), by_numpy(x)
    same = (rounded == expected) & (np.signbit(rounded) == np.signbit(expected))
    assert (same | (np.isnan(rounded) & np.isnan(expected))).all()


def test_shape_and_argument_stay_as_they_are() -> None:
    x = np.linspace(-3, 3, 24, dtype=F).reshape(2, 3, 4)
    before = x.copy()
    assert (half(x.transpose(2, 0, 1)) == by_numpy(x).transpose(2, 0, 1)).all()
    assert half(F(0.1).reshape(())).shape == ()
    assert half(np.zeros((0, 3), F)).shape == (0, 3)
    assert (x == before).all()
