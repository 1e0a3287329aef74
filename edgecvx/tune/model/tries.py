"""Whole mixtures tried on pictures before they are written: what adding up the effects of single decisions missed.

Effects are measured with one decision changed at a time, and add up as long as little is lost. Where a single tensor on
a coarse grid takes the answers along they do not: two such decisions lose no more than one. So a mixture that the
program finds is put together from the pieces and run, which takes a second, and its own changes say what it costs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecvx.errors import EdgecvxError
from edgecvx.files import write_atomically
from edgecvx.spec import from_json, to_json
from edgecvx.sweep.job import hash_of
from edgecvx.tune.model.pieces import Pieces, centred
from edgecvx.tune.model.sensitivity import DROWNED, MEASURED, lost_points

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What a mixture did to logits, and so to answers."""

    energy: float
    drop: float
    """Points of top-1; below 0 where some are gained."""


@dataclass(slots=True, kw_only=True)
class Tries:
    """The mixtures of one network and target, each tried once."""

    pieces: Pieces
    pictures: Sequence[Array]
    """As the graph takes them, without the batch axis; on the first of them mixtures are run."""
    labels: Sequence[int] | None = None
    measured: int = MEASURED
    place: Path | None = None
    """Where they are kept for a later run."""
    _known: dict[str, Tried] | None = None
    _exact: Array | None = None

    def of(self, decisions: Mapping[str, str]) -> Tried:
        """What a choice of one option for each decision costs."""
        if self._known is None:
            self._known = self._read()
        key = hash_of(sorted(decisions.items()))
        if key not in self._known:
            self._known[key] = self._run(decisions)
            if self.place is not None:
                write_atomically(self.place, json.dumps({k: to_json(t) for k, t in self._known.items()}).encode())
        return self._known[key]

    def _read(self) -> dict[str, Tried]:
        try:
            text = "{}" if self.place is None else self.place.read_text(encoding="utf-8")
            return {key: from_json(Tried, tried) for key, tried in json.loads(text).items()}
        except (OSError, ValueError, EdgecvxError):
            return {}

    def _run(self, decisions: Mapping[str, str]) -> Tried:
        exact = self._logits()
        options = [tuple(decisions[d.name] for d in block) for block in self.pieces.blocks]
        rows = []
        for picture in self.pictures[: self.measured]:
            x = picture[None]
            for piece, chosen in enumerate([*options, ()]):
                x = self.pieces.run(piece, chosen, x)
            rows.append(x[0])
        changes = centred(np.stack(rows) - exact[: len(rows)])
        energy, spread = (float(np.square(values).mean()) for values in (changes, centred(exact)))
        if not np.isfinite(energy):
            return Tried(energy=DROWNED * spread, drop=100.0)
        (drop,) = lost_points(exact, changes, self.labels, spread, np.array([energy / spread]))
        return Tried(energy=energy, drop=drop)

    def _logits(self) -> Array:
        """FP32's, of all pictures: how near their classes are decides what a change does."""
        if self._exact is None:
            self._exact = np.stack([self.pieces.exact(picture[None])[0] for picture in self.pictures])
        return self._exact
