"""What a sweep yields: every cell with its figures and its gates, and the schema of its JSON.

Written and read with ``spec.to_json`` and ``spec.from_json``. The whole validations and benchmarks lie beside it, as
``edgecvx validate`` and ``edgecvx bench`` write them; here is what a table over all of them takes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

from edgecvx.results.accuracy import Interval, VerdictKind
from edgecvx.results.texts import read_result, writable
from edgecvx.spec import to_json

SCHEMA_VERSION = 1
SCHEMA_FILE = "sweep.schema.json"
"""In ``edgecvx/assets``: the JSON schema of ``as_json``, made by ``tools/schema.py``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellAccuracy:
    """A file on some pictures."""

    data: str
    """Its name in the recipe."""
    verdict: VerdictKind
    reason: str
    pictures: int
    top1: float | None
    """A fraction; None without labels."""
    reference_top1: float | None
    """FP32 PyTorch's, on the same pictures."""
    delta: float | None
    interval: Interval | None
    """Of the delta, 95%."""
    sqnr_db: float | None
    """Of the first output; None also where every value is the same."""
    flips: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CellLatency:
    """A file on a device, in one runtime option with one number of threads."""

    device: str
    """Its name in the recipe."""
    runtime: str
    """With its options: ``tflite``, ``tflite:delegate=none``."""
    threads: int | None
    p50: float | None
    """Milliseconds of the model alone; None where nothing was timed run by run."""
    interval: Interval | None
    mean: float | None
    """Also where a tool of the runtime's own told nothing else."""
    peak_bytes: int | None
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CellResult:
    """One file, and all that is known about it."""

    name: str
    model: str
    target: str
    precision: str
    image_size: int
    calibration: str | None
    file: str | None
    """Below ``files/NAME/``; None where it was not made."""
    sha256: str | None
    """Over all files of the artifact, as validations and benchmarks say it."""
    bytes: int | None
    accuracy: tuple[CellAccuracy, ...]
    latency: tuple[CellLatency, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GateOutcome:
    """A gate, held against one cell."""

    kind: Literal["min_ratio", "max_drop", "max_p50", "max_mb"]
    limit: float
    cell: str
    on: str | None
    """The data or the device."""
    verdict: Literal["pass", "fail", "undecided"]
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """What the recipe asks for and this result has not got."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepResult:
    """One sweep."""

    schema_version: int = SCHEMA_VERSION
    kind: Literal["sweep"] = "sweep"
    edgecvx: str
    name: str
    key: str
    """The hash of everything this depends on: the same sweep of the same things says the same."""
    cells: tuple[CellResult, ...]
    gates: tuple[GateOutcome, ...]
    missing: tuple[Missing, ...]
    """Jobs that failed, and those that needed them."""
    left_out: tuple[Missing, ...]
    """Combinations that no target or device can do."""
    warnings: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0: everything is there, and every gate passed; 1: a gate failed or is undecided; 2: something is missing."""
        if self.missing or any(timed.error for cell in self.cells for timed in cell.latency):
            return 2
        return 1 if any(gate.verdict != "pass" for gate in self.gates) else 0


def as_json(result: SweepResult) -> str:
    """The result as JSON, one object by the schema in ``assets``; ``read_json`` takes it back."""
    return writable(json.dumps(to_json(result), indent=2, ensure_ascii=False, allow_nan=False)) + "\n"


def read_json(text: str) -> SweepResult:
    """The result that ``as_json`` wrote.

    Raises:
        EdgecvxError: The text is something else.
    """
    return read_result(SweepResult, text, "sweep", SCHEMA_VERSION)
