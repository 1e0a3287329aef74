"""What the errors of a file's inner tensors say: which layers are worst, and which stand out."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from edgecvx.results.accuracy import LayerError

LIMIT_DB = 200.0
"""Figures end here on both sides: float32 itself ends at about 150, and below -200 there is nothing left to tell."""
WEIGHTED = ("conv", "depthwise", "Gemm", "Grn", "scale", "shift")
"""How the kinds of layer begin that have constants of their own, which a lower precision rounds."""
INT8 = ", int8"
"""How the kinds end that are computed in int8."""
STANDS_OUT_DB = 20.0
"""A layer is suspect where its local error is this far above the usual one of its kind: tenfold in amplitude. Layers of
one kind lie within a few decibels of each other; a broken one is 50 and more away in FP32."""
ROUNDING_DB = 120.0
"""Above it there is only float32's own rounding, which differs with the order of a sum; no layer is suspect there."""


def ranked(layers: Sequence[LayerError]) -> tuple[LayerError, ...]:
    """The layers by what was born in them, the largest local error first."""
    return tuple(
        sorted(layers, key=lambda layer: (-(layer.not_finite > 0), _decibels(layer.local_sqnr_db), layer.depth))
    )


def suspects(layers: Sequence[LayerError]) -> tuple[LayerError, ...]:
    """The layers whose local error is far above what is usual for their kind in this file, worst first.

    Kinds with fewer than three layers are measured against all with constants of their own, or all without; against
    those with int8 in them where they have it.
    """
    by_kind: dict[str, list[float]] = {}
    for layer in layers:
        for key in (layer.kind, _family(layer)):
            by_kind.setdefault(key, []).append(_comparable(layer))
    found = []
    for layer in layers:
        peers = by_kind[layer.kind] if len(by_kind[layer.kind]) >= 3 else by_kind[_family(layer)]
        if _comparable(layer) <= statistics.median(peers) - STANDS_OUT_DB:
            found.append(layer)
    return ranked(found)


def _family(layer: LayerError) -> str:
    return ("weights" if layer.kind.startswith(WEIGHTED) else "no weights") + (
        INT8 if layer.kind.endswith(INT8) else ""
    )


def _comparable(layer: LayerError) -> float:
    return min(ROUNDING_DB, _decibels(layer.local_sqnr_db))


def _decibels(value: float | None) -> float:
    return LIMIT_DB if value is None else value
