"""What a user asks of ``tune``, checked before any work is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecvx.data.dataset import DEMO
from edgecvx.errors import Page, UsageError, about
from edgecvx.spec import ModelSpec, check_image_size, to_json
from edgecvx.targets import get_target
from edgecvx.tune.race.limits import Limits

if TYPE_CHECKING:
    from torch import nn

    from edgecvx.models.labels import Labels
    from edgecvx.models.load import LoadedModel

SIZES = (160, 192, 224, 256)
"""Tried where nothing is said: around what such networks are trained at."""
BUDGET = 60.0
"""Minutes."""
CALIBRATED_ON = 128
"""Pictures: the ranges of 256 differ by less than files do (``docs/quantization.md``), and every size is calibrated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Everything that decides what is searched, and where results go."""

    models: tuple[str | Path | nn.Module, ...]
    targets: tuple[str, ...]
    weights: str
    devices: tuple[str, ...]
    data: str | Path
    truth: str | Path | None
    labels: Labels | None
    calib: str | Path
    limits: Limits
    sizes: tuple[int, ...]
    threads: tuple[int, ...]
    budget: float
    """Minutes."""
    cluster: Any
    one_file: bool
    """Whether one file is looked for that is best on all devices together: the worst of them counts."""
    out: Path
    seed: int
    preprocess: object | None = None
    """How pictures are prepared, for models that do not say."""

    @about(Page.TUNE)
    def __post_init__(self) -> None:
        for what, values in (("MODEL", self.models), ("--target", self.targets), ("--sizes", self.sizes)):
            if not values:
                raise UsageError(f"no {what} given: there is nothing to choose from")
            if len(set(values)) < len(values):
                raise UsageError(f"{what} names one twice: {', '.join(map(_called, values))}")
        for size in self.sizes:
            check_image_size(size)
        for target in self.targets:
            get_target(target)
        if not self.budget > 0:
            raise UsageError(f"--budget {self.budget:g} does not work: it is in minutes, and must be positive")
        if self.one_file and len(self.devices) < 2:
            raise UsageError("--one-file takes two devices or more: with one, the file for it is the file for all")
        if self.truth == "none":
            raise UsageError("--truth none does not work here: without labels nothing is right or wrong")
        if self.out.exists() and not self.out.is_dir():
            raise UsageError(f"{self.out} is a file: the results need a folder")

    @property
    def checkpoints(self) -> tuple[Path, ...]:
        """Weights that lie in files, which validations ask for again."""
        places = [Path(m) for m in (*self.models, self.weights) if isinstance(m, str | Path)]
        return tuple(place for place in places if place.exists())

    @property
    def demo(self) -> bool:
        """Whether pictures are drawn."""
        return self.data == DEMO


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model that competes."""

    name: str
    """Short, and no other one's."""
    given: str | Path | nn.Module
    weights: str
    labels: Labels | None
    preprocess: object | None
    spec: ModelSpec
    """At the size it was trained for."""

    @property
    def own_size(self) -> int:
        """The size it was trained for, at which it is the measure of what is lost."""
        return self.spec.preprocess.size

    @property
    def module(self) -> nn.Module | None:
        """What somebody holds in memory; None for what has a name or lies in a file."""
        return None if isinstance(self.given, str | Path) else self.given

    @property
    def content(self) -> dict[str, Any]:
        """All that its answers follow from, beside the size: the tensors by their hash, wherever they lie."""
        arch, prepared = to_json(self.spec.arch), to_json(self.spec.preprocess)
        return {"weights": self.spec.weights.sha256, "arch": arch, "preprocess": prepared}

    def load(self, size: int) -> LoadedModel:
        """The network at a size.

        Raises:
            UsageError: It is a module whose tensors changed since the search began.
        """
        from edgecvx.inmemory.given import load_given

        loaded = load_given(
            self.given, weights=self.weights, image_size=size, labels=self.labels, preprocess=self.preprocess
        )
        if loaded.spec.weights.sha256 != self.spec.weights.sha256:
            raise UsageError(f"the weights of {self.name} changed while they were searched: give them when they stand")
        return loaded


def read_models(request: Request) -> tuple[tuple[Model, ...], tuple[str, ...]]:
    """The models, and what their owner should know of them.

    Raises:
        EdgecvxError: One cannot be loaded, has no classifier, or knows other classes than the first.
    """
    from edgecvx.inmemory.given import load_given

    models, warnings = list[Model](), list[str]()
    for given in request.models:
        labels, preprocess = request.labels, request.preprocess
        loaded = load_given(given, weights=request.weights, labels=labels, preprocess=preprocess)
        name = _short(given, loaded.spec, [m.name for m in models])
        if not loaded.spec.num_classes:
            raise UsageError(f"{name} has no classifier: there are no answers to be right or wrong")
        if models and _classes(loaded.spec) != _classes(models[0].spec):
            raise UsageError(f"{name} and {models[0].name} know other classes: they answer other questions")
        warnings += loaded.warnings
        models.append(
            Model(
                name=name,
                given=given,
                weights=request.weights,
                labels=labels,
                preprocess=preprocess,
                spec=loaded.spec,
            )
        )
    return tuple(models), tuple(dict.fromkeys(warnings))


def _classes(spec: ModelSpec) -> tuple[int, tuple[str, ...] | None]:
    return spec.num_classes, spec.labels


def _short(given: str | Path | nn.Module, spec: ModelSpec, taken: Sequence[str]) -> str:
    """A file's own name; a module has none, and is called as its architecture is."""
    path = Path(given) if isinstance(given, str | Path) else Path(spec.arch.name.rpartition("_")[2])
    name = path.stem if path.suffix else path.name
    return name if name not in taken else f"{name}-{len(taken) + 1}"


def _called(given: object) -> str:
    return str(given) if isinstance(given, str | Path | int) else type(given).__name__
