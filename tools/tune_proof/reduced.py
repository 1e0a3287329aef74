"""A space small enough to measure all of it: some sizes and targets of a network, and of its decisions only a few.

``tune`` searches it as it searches any other: what it is told of is what there is to decide, and nothing else.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from edgecvx.data.dataset import DEMO
from edgecvx.graph.scheme import Scheme
from edgecvx.quantize.plan import read_plan
from edgecvx.spec import ArchSpec, Precision
from edgecvx.targets import get_target
from edgecvx.tune.race.limits import Limits
from edgecvx.tune.refine import graph_of
from edgecvx.tune.request import Request
from edgecvx.tune.space import Candidate, Decision, decisions, space
from edgecvx.tune.space.forced import usual
from edgecvx.tune.workshop import Workshop

MOST_FILES = 64
SIZES = (160, 192, 224)
TARGETS = ("onnx", "tflite", "native")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reduced:
    """What may be written."""

    model: str = "atto"
    weights: str = "demo"
    labels: Path | None = None
    sizes: tuple[int, ...] = SIZES
    targets: tuple[str, ...] = TARGETS
    decided: tuple[str, ...] = ("stages.2.blocks.0.mlp", "stages.3.blocks.0.mlp")
    """The decisions that are left; every other part of a block is what the calibrated plan makes of it."""

    def asked(self) -> dict[str, Any]:
        """The arguments of ``edgecvx.tune`` that say all of this."""
        return {
            "models": self.model,
            "target": self.targets,
            "weights": self.weights,
            "labels": self.labels,
            "sizes": self.sizes,
        }

    def request(self, out: Path, *, seed: int, budget: float = 60.0) -> Request:
        """The same as a request without limits."""
        return Request(
            models=(self.model,),
            targets=self.targets,
            weights=self.weights,
            devices=("local",),
            data=DEMO,
            truth=None,
            labels=self.labels,
            calib=DEMO,
            limits=Limits(),
            sizes=self.sizes,
            threads=(),
            budget=budget,
            cluster=None,
            one_file=False,
            out=out,
            seed=seed,
        )

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """While this lasts, there is nothing else to decide."""

        def few(arch: ArchSpec, scheme: Scheme, kind: str) -> tuple[Decision, ...]:
            return tuple(d for d in decisions(arch, scheme, kind) if d.name in self.decided)

        with patch.object(importlib.import_module("edgecvx.tune.space"), "decisions", few):
            yield

    def plain(self, workshop: Workshop) -> list[Candidate]:
        """The files whose precision's own rules decide."""
        (model,) = workshop.models.values()
        found = [space(get_target(name), model.spec.arch) for name in self.targets]
        return [c for one in found for c in one.candidates(model.name, self.sizes)]

    def files(self, workshop: Workshop) -> tuple[dict[str, Candidate], dict[str, str]]:
        """All files, by name; and which of them a mixture is that comes to a plain one, by its candidate's key.

        Writes the plain INT8 files: their plans say which mixture they are.
        """
        found, same = {c.title: c for c in self.plain(workshop)}, dict[str, str]()
        for plain in [c for c in found.values() if c.precision is Precision.INT8]:
            left = space(get_target(plain.target), workshop.models[plain.model].spec.arch).decisions
            workshop.file(plain)
            as_it_is = _usual(workshop, plain, left)
            for mixed in mixtures(plain, left):
                if dict(mixed.decisions) == as_it_is:
                    same[mixed.key] = plain.title
                else:
                    found[name_of(mixed)] = mixed
        if len(found) > MOST_FILES:
            raise SystemExit(f"{len(found)} files are too many to measure all of them: {MOST_FILES} are the most")
        return found, same


def _usual(workshop: Workshop, plain: Candidate, left: Sequence[Decision]) -> dict[str, str]:
    scheme, plan = get_target(plain.target).schemes[Precision.INT8], read_plan(workshop.plan(plain.model, plain.size))
    return usual(graph_of(workshop, plain), scheme, plan, left)


def mixtures(plain: Candidate, left: Sequence[Decision]) -> list[Candidate]:
    """Every choice of what there is to decide."""
    ways = itertools.product(*(d.names for d in left))
    return [_mixed(plain, dict(zip((d.name for d in left), way, strict=True))) for way in ways] if left else []


def _mixed(plain: Candidate, choices: Mapping[str, str]) -> Candidate:
    return Candidate(
        model=plain.model, size=plain.size, target=plain.target, precision=plain.precision, decisions=choices
    )


def name_of(candidate: Candidate) -> str:
    """``atto 192 onnx int8 [float, int8]``: with the options in the order of their decisions."""
    words = f"{candidate.model} {candidate.size} {candidate.target} {candidate.precision.value}"
    return f"{words} [{', '.join(candidate.decisions.values())}]" if candidate.decisions else words
