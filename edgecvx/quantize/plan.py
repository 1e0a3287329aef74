"""The plan: every decision of a quantization, as a JSON that can be read, compared and used again.

A plan knows nothing of targets. For each tensor that some target quantizes it holds both grids, symmetric and not; a
target's scheme picks (``edgecvx.quantize.insert``). So one calibration serves all files of a model.
"""

from __future__ import annotations

import enum
import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from edgecvx.errors import EdgecvxError, UsageError
from edgecvx.graph.grids import Grid, is_scale
from edgecvx.spec import Calibration, InputKind, ModelSpec, from_json, to_json

SCHEMA_VERSION = 2

LARGEST = 1 << 27
"""Bytes of a plan file: ten times what the largest network and a hundred thousand pictures make."""
STEEPEST = 2.0**20
"""Smoothing factors lie within this and its inverse: beyond, GRN's constants leave float32."""
HOLDS = 27.0
"""Signal over noise of the answers in dB below which a user is warned: with trained weights several first classes in a
hundred are other ones there."""
_CHANGED = "the plan was changed by hand or by another tool"

Engine = Literal["edgecvx", "nncf"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorPlan:
    """One activation tensor."""

    low: float
    """The smallest value seen."""
    high: float
    """The largest value seen."""
    estimator: str
    """What chose the grids' ranges."""
    asymmetric: Grid
    symmetric: Grid

    def grid(self, *, symmetric: bool) -> Grid:
        """The grid a scheme asks for."""
        return self.symmetric if symmetric else self.asymmetric


class Arithmetic(str, enum.Enum):
    """How much of a layer is INT8, where a target can do it."""

    INT8 = "int8"
    INT8_CHOSEN = "int8, chosen"
    """The same, and no target spares it: somebody looked at this very layer."""
    FLOAT_OUTPUT = "int8, output float"
    """One grid does not hold what it returns."""
    FLOAT = "float"
    """One grid does not hold what it reads, or int8 does not hold its weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What is left of a layer's tensors in INT8, each alone: signal over noise in dB (``edgecvx.quantize.figures``)."""

    input: float
    weights: float
    output: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerPlan:
    """One convolution, or the classifier."""

    input: TensorPlan
    output: TensorPlan
    weight_scales: tuple[float, ...]
    """Per output channel, of the smoothed weights."""
    smoothing: tuple[float, ...] = ()
    """Per input channel: what the input is divided and the weights are multiplied by; empty for none."""
    bias_correction: tuple[float, ...] = ()
    """Per output channel: what is added to the bias; empty for none."""
    left: Left | None = None
    """None where another tool chose the grids."""
    arithmetic: Arithmetic = Arithmetic.INT8
    reason: str = ""
    """Why it is not INT8 throughout, or who chose that it is."""

    def __post_init__(self) -> None:
        for scale in self.weight_scales:
            if not is_scale(scale):
                raise EdgecvxError(f"a weight scale has to be a positive and finite float32, got {scale}")
        for factor in self.smoothing:
            if not 1 / STEEPEST <= factor <= STEEPEST:
                raise EdgecvxError(
                    f"a smoothing factor has to be within {1 / STEEPEST:.0e} and {STEEPEST:.0e}, got {factor}"
                )
        for added in self.bias_correction:
            if not abs(added) <= float(np.finfo(np.float32).max):
                raise EdgecvxError(f"a bias correction has to be a finite float32, got {added}")
        if (self.arithmetic is Arithmetic.INT8) is bool(self.reason):
            raise EdgecvxError(
                "a layer has a reason where it is not INT8 throughout or was chosen to be, and nowhere else"
            )


class Decided(Protocol):
    """What is decided of each tensor: a plan, or a part of one."""

    @property
    def layers(self) -> Mapping[str, LayerPlan]:
        """By canonical name."""

    @property
    def activations(self) -> Mapping[str, TensorPlan]:
        """Outputs of the activation function, by canonical name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """How the quantized graph answers, against FP32, on calibration pictures that no decision saw: in dB."""

    pictures: int
    inputs: float
    """With what layers read in INT8, and nothing they return."""
    outputs: float
    """With both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How well two disjoint halves of the calibration pictures agree on the ranges."""

    worst: float
    """The largest ratio between the two halves' ranges, over all tensors; 1 is perfect."""
    tensor: str
    """Where that is."""
    median: float


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantPlan:
    """A quantization of one model with one calibration set."""

    schema_version: int = SCHEMA_VERSION
    model: str
    weights_sha256: str
    image_size: int
    input_kind: InputKind
    folds: tuple[str, ...]
    engine: Engine
    calibration: Calibration
    agreement: Agreement | None
    """None where there was only one picture."""
    judged: Judged | None = None
    """None where nobody did: random weights, another engine, too few pictures."""
    layers: Mapping[str, LayerPlan]
    activations: Mapping[str, TensorPlan]
    """Outputs of the activation function, by canonical name."""

    def check_fits(self, spec: ModelSpec, input_kind: InputKind, folds: tuple[str, ...]) -> None:
        """Refuses a plan that was made for something else.

        Raises:
            UsageError: With what differs.
        """
        asked = (spec.name, spec.weights.sha256, spec.preprocess.size, input_kind.value, tuple(folds))
        made = (self.model, self.weights_sha256, self.image_size, self.input_kind.value, self.folds)
        names = ("model", "weights", "image size", "input", "folds")
        for what, a, b in zip(names, asked, made, strict=True):
            if a != b:
                raise UsageError(f"the plan was made for {what} {_in_words(b)}, not {_in_words(a)}: calibrate again")

    @property
    def sha256(self) -> str:
        """Names the plan in the manifests of the files made with it."""
        return hashlib.sha256(dump_plan(self)).hexdigest()


def dump_plan(plan: QuantPlan) -> bytes:
    """The plan as JSON: one line per list, so that two plans can be compared line by line."""
    text = json.dumps(to_json(plan), indent=2, ensure_ascii=False)
    text = re.sub(r"\[\s+([^\[\]{}]*?)\s+\]", lambda found: f"[{' '.join(found[1].split())}]", text)
    return (text + "\n").encode()


def read_plan(path: Path) -> QuantPlan:
    """A plan from its file.

    Raises:
        EdgecvxError: It is missing, damaged, or of another version.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(LARGEST + 1)
    except OSError as error:
        raise UsageError(f"{path}: the plan cannot be read ({error.strerror})") from None
    if len(content) > LARGEST:
        raise UsageError(f"{path.name} has more than {LARGEST >> 20} MB: it is no plan that edgecvx wrote")

    def number(text: str) -> float:
        if not math.isfinite(value := float(text)):
            raise UsageError(f"{path.name} holds {text[:40]}, which is no finite number; {_CHANGED}")
        return value

    try:
        data = json.loads(content.decode(), parse_float=number, parse_constant=number)
    except (ValueError, RecursionError):
        raise UsageError(f"{path.name} is not valid JSON: it is no plan that edgecvx wrote") from None
    version = data.get("schema_version") if isinstance(data, dict) else None
    if version != SCHEMA_VERSION:
        raise UsageError(
            f"{path.name} has plan version {version!r}, this edgecvx reads version {SCHEMA_VERSION}: calibrate again"
        )
    try:
        return from_json(QuantPlan, data, where=path.name)
    except EdgecvxError as error:
        raise UsageError(f"{error}; {_CHANGED}") from None


def _in_words(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(value) or "none"
    return value[:12] if isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) else str(value)
