r"""A 7x7 depthwise convolution as a sum of smaller ones (identity 6), each of which XNNPACK has a kernel for.

XNNPACK's depthwise microkernels hold 3, 4, 9 or 25 taps. A 7x7 has 49, falls to a grouped im2col GEMM, and there costs
more than the whole MLP around it. A convolution is linear in its taps, so any partition of the 49 taps gives the same
sum; what matters is that each part is a *grid* (rows and columns at a constant step: a kernel with a dilation), that it
sits where SAME padding puts it, and that it fills its microkernel well, because a microkernel does all of its taps'
work whether they exist or not.

**Where SAME puts a tap.** At stride 1 a kernel of ``k`` taps with dilation ``d`` spans ``(k - 1) d + 1`` pixels; SAME
pads ``(k - 1) d`` zeros in all, ``floor((k - 1) d / 2)`` of them before. Tap ``i`` therefore reads the pixel at offset
``i d - floor((k - 1) d / 2)``. For the grids below the span is even, so the taps sit symmetrically about the pixel, at
``i d - (k - 1) d / 2``, and the zeros read outside the picture are the ones that the 7x7 with padding 3 reads there.

**The partition.** Rows at even and at odd offsets, the odd ones once more in two::

       columns -3 -2 -1  0 +1 +2 +3
    row -3      c  b  b  b  b  b  c        a: rows -2 0 +2,       columns -3..+3   3x7, dilation (2, 1)   21 taps
    row -2      a  a  a  a  a  a  a        b: rows -3 -1 +1 +3,   columns -2..+2   4x5, dilation (2, 1)   20 taps
    row -1      c  b  b  b  b  b  c        c: rows -3 -1 +1 +3,   columns -3 +3    4x2, dilation (2, 6)    8 taps
    row  0      a  a  a  a  a  a  a
    row +1      c  b  b  b  b  b  c
    row +2      a  a  a  a  a  a  a
    row +3      c  b  b  b  b  b  c

They run in microkernels of 25, 25 and 9 taps: 59 taps of work for 49. The more obvious partition, the inner 5x5 and
the ring around it as 2x7 with dilation (6, 1) and 5x2 with dilation (1, 6), runs in 25 + 25 + 25.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecvx.errors import ExportError


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A part of a depthwise kernel: ``rows x columns`` taps at a constant step, padded SAME."""

    name: str
    shape: tuple[int, int]
    dilation: tuple[int, int]

    @property
    def offsets(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The row and column offsets that SAME padding gives this grid's taps, relative to the output pixel."""
        rows, columns = (same_offsets(k, d) for k, d in zip(self.shape, self.dilation, strict=True))
        return rows, columns


PARTITIONS: dict[int, tuple[Grid, ...]] = {
    7: (
        Grid(name="even", shape=(3, 7), dilation=(2, 1)),
        Grid(name="odd", shape=(4, 5), dilation=(2, 1)),
        Grid(name="edge", shape=(4, 2), dilation=(2, 6)),
    )
}
"""Kernel size -> the grids it is split into. A size that is not here has a microkernel of its own (3, 5)."""


def same_offsets(taps: int, dilation: int) -> tuple[int, ...]:
    """The offsets that ``taps`` taps at stride 1 read at under SAME padding."""
    before = (taps - 1) * dilation // 2
    return tuple(i * dilation - before for i in range(taps))


def same_padding(size: int, taps: int, stride: int, dilation: int) -> tuple[int, int]:
    """The zeros that SAME puts before and after an axis of ``size`` pixels."""
    outputs = -(-size // stride)
    total = max((outputs - 1) * stride + (taps - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2


def split(weight: NDArray[Any], partition: Sequence[Grid]) -> list[tuple[Grid, NDArray[Any]]]:
    """Distributes the taps of a square depthwise kernel over the grids of a partition.

    Args:
        weight: ``[C, 1, K, K]``, to be applied with padding ``K // 2`` and stride 1.
        partition: Grids that cover each tap exactly once.

    Returns:
        Each grid with its kernel, ``[C, 1, rows, columns]``.

    Raises:
        ExportError: The grids miss a tap, cover one twice, or reach outside the kernel.
    """
    size = weight.shape[-1]
    covered = np.zeros((size, size), dtype=int)
    parts = []
    for grid in partition:
        rows, columns = (np.asarray(o) + size // 2 for o in grid.offsets)
        if min(rows[0], columns[0]) < 0 or max(rows[-1], columns[-1]) >= size:
            raise ExportError(f"grid {grid.name!r} reaches outside a {size}x{size} kernel")
        covered[np.ix_(rows, columns)] += 1
        parts.append((grid, np.ascontiguousarray(weight[:, :, rows[:, None], columns[None, :]])))
    if not np.all(covered == 1):
        raise ExportError(f"the grids {[g.name for g in partition]} do not cover a {size}x{size} kernel exactly once")
    return parts
