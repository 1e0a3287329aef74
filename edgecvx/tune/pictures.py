"""Which pictures the search may look at, and which are kept for races.

Three disjoint sets, by content: what files are calibrated on, what the stages before the race predict from, and what
the race judges by. So no file is chosen on the pictures it is judged on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecvx.board.device.fingerprint import fingerprint
from edgecvx.data.calibration import open_calibration
from edgecvx.data.dataset import DEMO_PICTURES, Sample, open_data
from edgecvx.data.preprocess import as_input
from edgecvx.errors import Page, UsageError, about
from edgecvx.spec import TensorSpec
from edgecvx.sweep.job import hash_of
from edgecvx.tune.request import CALIBRATED_ON, Model, Request

PREDICTED_FROM, FEW = 128, 32
"""Pictures that predictions are made from, at most and at least, and a fifth of those that there are."""
A_MINUTE = 20
"""Pictures through all networks together for each minute of the budget: a few percent of it."""
FEWEST = 40
"""Pictures, below which there is nothing to race on."""
DRAWN = 4 * DEMO_PICTURES
"""Drawn pictures that a race may use: there is no end of them, but there is of patience."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """What is left for races, and what the search may look at."""

    search: tuple[Sample, ...]
    """For predictions."""
    seen: frozenset[str]
    """Content that no race may use: of the search, and of the calibration."""
    count: int
    """Pictures that are left."""
    key: str
    """Over all of that."""
    machine: str
    """Names this machine."""
    request: Request
    models: tuple[Model, ...]

    def racing(self, most: int) -> tuple[Sample, ...]:
        """The first so many of those that are left, as ``validate`` takes them."""
        spec, request = self.models[0].spec, self.request
        found = open_data(
            request.data,
            num_classes=spec.num_classes,
            labels=spec.labels,
            truth=request.truth,
            limit=most,
            seed=request.seed,
            exclude=self.seen,
        )
        return found.samples

    def inputs(self, model: Model, size: int, tensor: TensorSpec, most: int) -> tuple[list[NDArray[Any]], list[Sample]]:
        """The search's pictures as a network takes them, without the batch axis."""
        spec = model.load(size).spec.preprocess
        chosen = self.search[:most]
        return [as_input(np.asarray(s.pixels(spec))[None], spec, tensor)[0] for s in chosen], list(chosen)


@about(Page.TUNE)
def open_pictures(request: Request, models: Sequence[Model]) -> Pictures:
    """Parts the data.

    Raises:
        UsageError: There are too few pictures, or they have no labels.
    """
    spec = models[0].spec
    networks = len(models) * (len(request.sizes) + 1)
    most = min(PREDICTED_FROM, max(FEW, int(A_MINUTE * request.budget / networks)))
    calibration = open_calibration(request.calib, samples=CALIBRATED_ON)
    calibrated = frozenset(s.sha256 for s in calibration.samples)
    common: dict[str, Any] = {"num_classes": spec.num_classes, "labels": spec.labels, "truth": request.truth}
    if request.demo:
        # The streams of two seeds are disjoint: the race has the request's own, the search the one before the next.
        search = open_data(request.data, limit=most, seed=request.seed + 500, **common)
        count = DRAWN
    else:
        every = open_data(request.data, seed=request.seed, exclude=calibrated, **common)
        part = min(most, len(every.samples) // 5)
        search = open_data(request.data, seed=request.seed, exclude=calibrated, limit=max(1, part), **common)
        count = len(every.samples) - part
    if not search.labelled:
        raise UsageError(
            f"{search.name} has no labels: without them nothing is right or wrong, and nothing can be chosen"
        )
    if count < FEWEST:
        raise UsageError(
            f"{search.name} leaves {count} pictures to judge by, {FEWEST} are the least: give more of them"
        )
    seen = calibrated | frozenset(s.sha256 for s in search.samples)
    key = hash_of([sorted(seen), str(request.data), search.sha256, request.seed])
    return Pictures(
        search=search.samples,
        seen=seen,
        count=count,
        key=key,
        machine=str(fingerprint()["id"]),
        request=request,
        models=tuple(models),
    )
