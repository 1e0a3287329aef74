"""What a sweep is asked for: every axis as a list of named things, filters, and gates.

Values that check themselves. What is wrong is raised as ``RecipeError`` with the key it concerns, so that whoever read
the recipe from a file can name the line.
"""

from __future__ import annotations

import contextlib
import fnmatch
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Literal, get_args

from edgecvx.data.dataset import DEMO, NO_TRUTH
from edgecvx.errors import UsageError, one_of
from edgecvx.latency.devices import open_device
from edgecvx.quantize.observe.estimators import ESTIMATORS
from edgecvx.quantize.plan import Engine
from edgecvx.runtimes import check_threads
from edgecvx.spec import CALIBRATION_PICTURES, InputKind, Precision, Task, check_image_size
from edgecvx.targets import get_target

Key = tuple[str | int, ...]
Axis = Literal["model", "target", "precision", "image_size", "calibration", "data", "device"]
AXES: tuple[Axis, ...] = get_args(Axis)
SCHEMA_VERSION = 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,59}")
"""It stands in names of files, and between dots in names of jobs."""


class RecipeError(UsageError):
    """A value that makes no sense, and its key within what was made."""

    def __init__(self, key: Key, sentence: str) -> None:
        super().__init__(sentence)
        self.key = key


def _check(key: Key, right: bool, sentence: str) -> None:
    if not right:
        raise RecipeError(key, sentence)


@contextlib.contextmanager
def _about(key: Key) -> Iterator[None]:
    """What is refused in here is refused because of this key."""
    try:
        yield
    except UsageError as error:
        raise RecipeError(key, str(error)) from None


def _check_name(name: str) -> None:
    _check(
        ("name",),
        _NAME.fullmatch(name) is not None,
        f"{name!r} is no name: it is letters, digits, - and _, at most 60, and begins with a letter or a digit",
    )


def _check_choice(key: Key, what: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise RecipeError(key, str(one_of(what, value, list(known))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A network and its weights, as ``edgecvx export`` takes them."""

    name: str = ""
    """The model itself where nothing is said, as far as it is a name."""
    model: str
    weights: str = "auto"
    labels: str | None = None
    task: str = Task.CLASSIFY.value
    seed: int = 0
    """For ``weights = "random"``."""

    def __post_init__(self) -> None:
        _check(("model",), bool(self.model), "a model is a variant, a timm name, or a checkpoint file")
        if not self.name:
            object.__setattr__(self, "name", re.sub(r"[^A-Za-z0-9_-]+", "-", self.model).strip("-")[-60:])
        _check_name(self.name)
        _check_choice(("task",), "task", self.task, [t.value for t in Task])
        _check(("seed",), 0 <= self.seed < 2**63, f"seed {self.seed} does not work: it is from 0 to {2**63 - 1}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Pictures that INT8 files are calibrated on, and how."""

    name: str
    pictures: str = DEMO
    samples: int = CALIBRATION_PICTURES
    quantizer: str = "edgecvx"
    estimator: str = "auto"

    def __post_init__(self) -> None:
        _check_name(self.name)
        _check(("samples",), self.samples > 0, f"{self.samples} samples do not work: at least one picture is needed")
        _check_choice(("quantizer",), "quantizer", self.quantizer, get_args(Engine))
        _check_choice(("estimator",), "range estimator", self.estimator, ESTIMATORS)
        _check(
            ("estimator",),
            self.quantizer == "edgecvx" or self.estimator == "auto",
            f"quantizer {self.quantizer} chooses ranges by itself: leave estimator out",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """Pictures that files are validated on."""

    name: str
    pictures: str = DEMO
    truth: str | None = None
    limit: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        _check_name(self.name)
        _check(
            ("limit",), self.limit is None or self.limit > 0, f"limit {self.limit} does not work: one picture at least"
        )
        _check(("seed",), 0 <= self.seed <= 1_000_000, f"seed {self.seed} does not work: it is from 0 to 1000000")
        drawn = self.pictures == DEMO and self.truth not in (None, NO_TRUTH)
        _check(("truth",), not drawn, "drawn pictures bring their labels: leave truth out")


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """Where files are timed, and how; what each key means is told by ``edgecvx bench --help``."""

    name: str
    device: str
    threads: tuple[int, ...] = ()
    runs: int | None = None
    seconds: float | None = None
    rounds: int = 20
    end_to_end: bool = True
    memory: bool = True
    runtimes: tuple[str, ...] = ()
    python: str | None = None
    adb_benchmark: str | None = None
    together: int = 12
    """How many files take turns in one measurement; ratios are between those of one."""
    tries: int = 5
    """How often the device is looked for where it does not answer, after pauses that grow."""
    wait_minutes: float = 60
    """How long to wait for a device on which somebody else measures."""

    def __post_init__(self) -> None:
        _check_name(self.name)
        with _about(("device",)):
            open_device(self.device, python=self.python, adb_benchmark=self.adb_benchmark)
        for index, number in enumerate(self.threads):
            with _about(("threads", index)):
                check_threads(number)
        for key, least, most in (("rounds", 1, 1000), ("together", 1, 64), ("tries", 1, 100)):
            value = getattr(self, key)
            _check((key,), least <= value <= most, f"{key} {value} does not work: it is from {least} to {most}")
        _check(("runs",), self.runs is None or 1 <= self.runs <= 10_000_000, f"{self.runs} runs do not work")
        _check(
            ("seconds",),
            self.seconds is None or 0 < self.seconds <= 86_400,
            f"{self.seconds} seconds do not work: it is more than 0, and at most a day",
        )
        _check(
            ("seconds",), None in (self.runs, self.seconds), "runs and seconds exclude each other: one says when to end"
        )
        _check(
            ("wait_minutes",),
            0 <= self.wait_minutes <= 10_080,
            f"wait_minutes {self.wait_minutes} does not work: it is from 0 to a week",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Cells of a sweep, by patterns for some of its axes: ``{ model = "femto*", precision = ["fp16", "int8"] }``."""

    model: tuple[str, ...] = ()
    target: tuple[str, ...] = ()
    precision: tuple[str, ...] = ()
    image_size: tuple[str, ...] = ()
    calibration: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    device: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        named = [f.name for f in fields(self) if getattr(self, f.name)]
        _check((), bool(named), f"a condition names at least one of {', '.join(AXES)}")
        both = {"data", "device"} <= set(named)
        _check(("device",), not both, "a condition is about data or about a device: write two")

    @property
    def about(self) -> Literal["file", "data", "device"]:
        """What it chooses: files, or the use of files with data or on a device."""
        return "data" if self.data else "device" if self.device else "file"

    def matches(self, cell: Mapping[str, str | None]) -> bool:
        """Whether a cell, as axis -> name, is one of these; an axis the cell has not got matches no pattern."""
        return all(self._fits(axis, cell.get(axis)) for axis in AXES)

    def _fits(self, axis: Axis, name: str | None) -> bool:
        patterns: tuple[str, ...] = getattr(self, axis)
        return not patterns or (name is not None and any(fnmatch.fnmatchcase(name, p) for p in patterns))


LIMITS = ("min_ratio", "max_drop", "max_p50", "max_mb")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One limit, for all cells or some."""

    where: Where | None = None
    min_ratio: float | None = None
    """The file's top-1 over FP32's; of several that fit a file, the first counts."""
    max_drop: float | None = None
    """In place of that: percentage points of top-1."""
    max_p50: float | None = None
    """Milliseconds of the model alone."""
    max_mb: float | None = None
    """Megabytes of a file, of a million bytes."""

    def __post_init__(self) -> None:
        named = [name for name in LIMITS if getattr(self, name) is not None]
        _check((), bool(named), f"a gate has a limit: one of {', '.join(LIMITS)}")
        _check((named[-1],), len(named) == 1, f"a gate has one limit, not {' and '.join(named)}: write two gates")
        value = getattr(self, self.kind)
        most = {"min_ratio": 1.0, "max_drop": 100.0}.get(self.kind, math.inf)
        least = value >= 0 if self.kind == "max_drop" else value > 0
        _check((self.kind,), math.isfinite(value) and least and value <= most, f"{self.kind} {value:g} does not work")
        about, accuracy = self.where.about if self.where else "file", self.kind in ("min_ratio", "max_drop")
        fits = {"max_p50": ("file", "device"), "max_mb": ("file",)}.get(self.kind, ("file", "data"))
        _check(("where",), about in fits, f"{self.kind} has nothing to do with {'a device' if accuracy else about}")

    @property
    def kind(self) -> str:
        """Which limit it is."""
        return next(name for name in LIMITS if getattr(self, name) is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A whole sweep."""

    schema_version: int = SCHEMA_VERSION
    name: str
    models: tuple[Model, ...]
    targets: tuple[str, ...]
    precisions: tuple[str, ...] = (Precision.FP32.value,)
    image_sizes: tuple[int, ...] = ()
    """The checkpoints' own where there are none."""
    input: str = InputKind.FLOAT.value
    platforms: tuple[str, ...] = ()
    """For target ``native``."""
    calibrations: tuple[Calibration, ...] = ()
    """Drawn pictures where there are none and a precision is calibrated."""
    data: tuple[Data, ...] = ()
    devices: tuple[Device, ...] = ()
    include: tuple[Where, ...] = ()
    exclude: tuple[Where, ...] = ()
    gates: tuple[Gate, ...] = field(default=())

    def __post_init__(self) -> None:
        version = self.schema_version
        _check(("schema_version",), version == SCHEMA_VERSION, f"version {version} is not known: {SCHEMA_VERSION} is")
        _check_name(self.name)
        for key in ("models", "targets", "precisions"):
            _check((key,), bool(getattr(self, key)), f"{key} is empty: nothing would be exported")
        for index, target in enumerate(self.targets):
            with _about(("targets", index)):
                get_target(target)
        for index, name in enumerate(self.precisions):
            _check_choice(("precisions", index), "precision", name, [p.value for p in Precision])
        for index, size in enumerate(self.image_sizes):
            with _about(("image_sizes", index)):
                check_image_size(size)
        _check_choice(("input",), "input", self.input, [k.value for k in InputKind])
        self._check_names()
        self._check_calibrations()
        self._check_conditions()

    def _check_names(self) -> None:
        for key in ("models", "calibrations", "data", "devices"):
            seen: set[str] = set()
            for index, thing in enumerate(getattr(self, key)):
                _check((key, index, "name"), thing.name not in seen, f"{thing.name!r} is there twice in {key}")
                seen.add(thing.name)
        places: dict[str, str] = {}
        for index, device in enumerate(self.devices):
            other = places.setdefault(device.device, device.name)
            _check(
                ("devices", index, "device"),
                other == device.name,
                f"{device.device} is device {other!r} already: more threads or runtimes are more values of one device",
            )
        for key in ("targets", "precisions", "image_sizes"):
            for index, value in enumerate(getattr(self, key)):
                _check((key, index), value not in getattr(self, key)[:index], f"{value!r} is there twice in {key}")

    def _check_calibrations(self) -> None:
        calibrated = any(Precision(p).calibrated for p in self.precisions)
        _check(
            ("calibrations",), calibrated or not self.calibrations, "no precision is calibrated: leave calibrations out"
        )
        if calibrated and not self.calibrations:
            object.__setattr__(self, "calibrations", (Calibration(name=DEMO),))

    def _check_conditions(self) -> None:
        for key, where in self._conditions():
            for axis in AXES:
                for pattern in getattr(where, axis):
                    known = self.names(axis)
                    some = any(fnmatch.fnmatchcase(name, pattern) for name in known)
                    what = f"no {axis.replace('_', ' ')} of this recipe is {pattern!r}"
                    _check((*key, axis), some or not known, f"{what}: there are {', '.join(known)}")
                    _check((*key, axis), bool(known) or axis == "image_size", f"{what}: there are none")
        for index, gate in enumerate(self.gates):
            timed = gate.kind == "max_p50"
            _check(("gates", index), not timed or bool(self.devices), "max_p50 needs a device: there is none")
            accuracy = gate.kind in ("min_ratio", "max_drop")
            _check(("gates", index), not accuracy or bool(self.data), f"{gate.kind} needs data: there is none")

    def _conditions(self) -> Iterator[tuple[Key, Where]]:
        """Every condition, and its key."""
        yield from ((("include", index), where) for index, where in enumerate(self.include))
        yield from ((("exclude", index), where) for index, where in enumerate(self.exclude))
        yield from ((("gates", i, "where"), gate.where) for i, gate in enumerate(self.gates) if gate.where)

    def names(self, axis: Axis) -> tuple[str, ...]:
        """What a pattern for an axis may match."""
        if axis in ("target", "precision", "image_size"):
            return tuple(map(str, getattr(self, f"{axis}s")))
        return tuple(thing.name for thing in getattr(self, axis if axis == "data" else f"{axis}s"))

    def keeps(self, cell: Mapping[str, str | None], about: Literal["file", "data", "device"]) -> bool:
        """Whether the filters leave a cell in.

        Args:
            cell: Axis -> name.
            about: What it is: a file, or the use of one with data or on a device.
        """
        including = [where for where in self.include if where.about == about]
        excluding = [where for where in self.exclude if where.about == about]
        included = not including or any(where.matches(cell) for where in including)
        return included and not any(where.matches(cell) for where in excluding)
