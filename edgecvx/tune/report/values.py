"""What a search yields: the verdict of each device, every candidate with its figures, and the schema of its JSON.

Written and read with ``spec.to_json`` and ``spec.from_json``. Times are milliseconds, rates and changes fractions, as
validations and benchmarks say them. What was not measured is None.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from edgecvx.results.accuracy import Interval
from edgecvx.results.texts import read_result, writable
from edgecvx.spec import to_json

SCHEMA_VERSION = 1
SCHEMA_FILE = "tune.schema.json"
"""In ``edgecvx/assets``: the JSON schema of ``as_json``, made by ``tools/schema.py``."""

State = Literal["ship", "tied", "kept", "open", "breaks", "predicted", "dropped", "error"]
"""``kept``: it raced and may keep the limits, but is not better; ``open``: it raced, and that is not known;
``predicted``: it did not race, because it was predicted to do worse; ``dropped``: it needed no measuring."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How the search on a device ended."""

    kind: Literal["decided", "undecided", "impossible", "front"]
    sentence: str
    file: str | None
    """The winner, the best by what is known, or what comes closest: the name of a row."""
    tied: tuple[str, ...] = ()
    between: tuple[str, ...] = ()
    """Undecided: the two files, or the file and the limit, between which it is open."""
    pictures: int | None = None
    """Undecided: about how many more would decide."""
    minutes: float | None = None
    """Undecided: about how many more of measuring would decide."""
    binding: tuple[str, ...] = ()
    """Impossible: limits without any one of which there would be a file."""
    front: tuple[str, ...] = ()
    """Without limits: the rows that nothing beats, the fastest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One candidate on one device."""

    name: str
    model: str
    size: int
    target: str
    precision: str
    threads: int | None
    decisions: Mapping[str, str]
    """Block by block, where they were chosen."""
    state: State
    why: str
    """One sentence."""
    bytes: int | None
    predicted_ms: float | None
    predicted_top1: float | None
    ms: float | None
    ms_interval: Interval | None
    top1: float | None
    change: float | None
    """Of top-1, against the same model in FP32 PyTorch at its own size; negative is a loss."""
    change_interval: Interval | None
    pictures: int
    rounds: int
    peak_bytes: int | None
    sha256: str | None
    """Over all parts of the file, as validations and benchmarks say it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one option of one decision costs, over its ``float``, in the file whose blocks were looked at."""

    decision: str
    option: str
    ms: float | None
    """Negative is a gain."""
    energy: float
    """What the logits lose, as a mean square."""
    chosen: bool
    """In the file that was looked at last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Where milliseconds and answers come from, for the blocks of one network and target."""

    of: str
    """``femto 192 onnx``."""
    parts: tuple[Part, ...]
    base_ms: float | None
    """With every decision at ``float``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NextLimit:
    """What a looser limit would buy."""

    limit: str
    value: float
    """Where the next file becomes possible."""
    file: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """A prediction beside its measurement."""

    name: str
    predicted_ms: float
    ms: float
    off: float
    """Measured over predicted, less 1."""
    mended: bool
    """Whether it was off by more than the model may be, so that the model was fitted again with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceResult:
    """One device, or all of them where one file is asked for; figures of two devices never meet in one table."""

    device: str
    what: str
    """What it says of itself, and how steady it was."""
    ending: Ending
    shipped: str | None
    """The file, below the folder of results."""
    rows: tuple[Row, ...]
    misses: tuple[Miss, ...]
    accounts: tuple[Account, ...]
    next_limits: tuple[NextLimit, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageCost:
    """A stage, and what it cost."""

    name: str
    what: str
    """What it did, in one sentence with its counts."""
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """One search."""

    schema_version: int = SCHEMA_VERSION
    kind: Literal["tune"] = "tune"
    edgecvx: str
    models: tuple[str, ...]
    targets: tuple[str, ...]
    sizes: tuple[int, ...]
    limits: Mapping[str, float]
    objective: Literal["fastest", "most right"]
    data: str
    pictures: int
    """That were left for races."""
    candidates: int
    """Of all files that there could be, those whose precision's own rules decide."""
    devices: tuple[DeviceResult, ...]
    stages: tuple[StageCost, ...]
    warnings: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0: decided everywhere, or the front was all that was asked for; 1: undecided or impossible on a device."""
        return 0 if all(d.ending.kind in ("decided", "front") for d in self.devices) else 1


def as_json(tuned: Tuned) -> str:
    """The search as JSON, one object by the schema in ``assets``; ``read_json`` takes it back."""
    return writable(json.dumps(to_json(tuned), indent=2, ensure_ascii=False, allow_nan=False)) + "\n"


def read_json(text: str) -> Tuned:
    """The search that ``as_json`` wrote.

    Raises:
        EdgecvxError: The text is something else.
    """
    return read_result(Tuned, text, "tune", SCHEMA_VERSION)
