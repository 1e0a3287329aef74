"""What the host asks for, read and checked key by key."""

# ruff: noqa: UP045  # these annotations are evaluated, which Python 3.9 cannot do with X | None
from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Optional

from edgecvx.board import MARK, PROTOCOL
from edgecvx.board.engines.base import Tensor
from edgecvx.board.proof import Proof
from edgecvx.board.values import read

SKIPPABLE = ("memory", "end_to_end", "sustained")


class OrderError(Exception):
    """The order makes no sense; the message is a sentence."""


@dataclass(frozen=True)
class Proved:
    """Where a file was proved, and what it is held to elsewhere."""

    proof: Proof
    probes: str
    """A ``.npy`` file with the probe pictures, in the file's own layout and dtype."""
    limit: float
    """How far its answers may be from those of the proof."""
    remedy: str
    """What to do where they are further off."""

    def __post_init__(self) -> None:
        _check_inside(self.probes)


@dataclass(frozen=True)
class Artifact:
    """One file in one runtime."""

    id: str
    runtime: str
    path: str
    """Relative to the order's folder, as every path in here."""
    input: Tensor
    array: str
    """A ``.npy`` file that fits the input."""
    threads: Optional[int] = None
    options: Mapping[str, str] = field(default_factory=dict)
    preprocess: Optional[Mapping[str, Any]] = None
    logits: Optional[str] = None
    """The output whose largest values are the answer."""
    proved: Optional[Proved] = None
    """None for a file that nothing is known of: it is timed as it is."""

    def __post_init__(self) -> None:
        _check_inside(self.path)
        _check_inside(self.array)
        if self.threads is not None and self.threads < 1:
            raise OrderError(f"{self.threads} threads do not work: it must be at least 1")


@dataclass(frozen=True)
class WarmUp:
    """Until two windows of ``window`` runs have medians within ``tolerance``, or patience ends."""

    window: int = 10
    tolerance: float = 0.02
    max_runs: int = 500
    max_seconds: float = 20.0

    def __post_init__(self) -> None:
        if self.window < 1 or self.max_runs < 1:
            raise OrderError("window and max_runs must be at least 1")


@dataclass(frozen=True)
class Order:
    """One measurement."""

    artifacts: tuple[Artifact, ...]
    rounds: int
    pictures: tuple[str, ...] = ()
    runs: Optional[int] = None
    seconds: Optional[float] = None
    end_to_end: bool = False
    memory: bool = False
    sustained_minutes: float = 0.0
    warm_up: WarmUp = field(default_factory=WarmUp)
    seed: int = 0
    """Of whatever the host drew for this measurement; the runner draws nothing."""
    first_round: int = 0
    skip: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    remove: bool = False
    lifeline_seconds: Optional[float] = 60.0
    patience_seconds: float = 300.0
    folder: Path = Path()
    """Where the order lies; no JSON value is one."""

    def __post_init__(self) -> None:
        ids = [a.id for a in self.artifacts]
        if not ids or len(set(ids)) != len(ids):
            raise OrderError("it needs artifacts, each with an id of its own")
        for path in self.pictures:
            _check_inside(path)
        if self.rounds < 1 or not 0 <= self.first_round <= self.rounds:
            raise OrderError(f"{self.rounds} rounds from round {self.first_round} on do not work")
        if (self.runs is None) == (self.seconds is None):
            raise OrderError("it must say either runs or seconds")
        if (self.runs is not None and self.runs < 1) or (self.seconds is not None and self.seconds <= 0):
            raise OrderError("runs and seconds must be positive")
        unknown = {what for whats in self.skip.values() for what in whats} - set(SKIPPABLE)
        if unknown:
            raise OrderError(f"{sorted(unknown)[0]!r} cannot be skipped, only {', '.join(SKIPPABLE)}")

    def skips(self, artifact: Artifact, what: str) -> bool:
        """Whether the host has this already, from before the connection was lost."""
        return what in self.skip.get(artifact.id, ())

    def runs_in(self, round_number: int) -> int | None:
        """This round's share of all runs, at least one; None where a time was given."""
        return runs_of_turn(self.runs, self.rounds, round_number)

    @property
    def seconds_of_turn(self) -> float | None:
        """This turn's share of the time; None where a number of runs was given."""
        return None if self.seconds is None else self.seconds / self.rounds


def runs_of_turn(runs: int | None, rounds: int, number: int) -> int | None:
    """The share of all runs that one round of so many has; None where a time was given."""
    return None if runs is None else max(1, runs * (number + 1) // rounds - runs * number // rounds)


def read_order(path: Path) -> Order:
    """Reads ORDER.json.

    Raises:
        OrderError: It cannot be read, is of another protocol, or does not say what it must.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OrderError(f"the order {path.name} cannot be read: {error}") from error
    if not isinstance(data, dict):
        raise OrderError(f"the order must be an object, not {type(data).__name__}")
    protocol = data.pop("protocol", None)
    if protocol != PROTOCOL:
        raise OrderError(f"this runner speaks protocol {PROTOCOL}, the order {protocol}; copy both anew")
    return dataclasses.replace(read(Order, data, "the order", OrderError), folder=path.resolve().parent)


def read_artifact(data: Any) -> Artifact:
    """One artifact of an order, as ``dataclasses.asdict`` and JSON carry it to a worker."""
    return read(Artifact, data, "the artifact", OrderError)


def removable(path: Path) -> Path | None:
    """The order's folder, where it was made for this one run and the order says to remove it; else None.

    Reads as little of the order as can be, so that a folder is also removed whose order is wrong otherwise.
    """
    folder = path.resolve().parent
    try:
        wanted = json.loads(path.read_text(encoding="utf-8")).get("remove") is True
    except (OSError, ValueError, AttributeError):
        return None
    return folder if wanted and (folder / MARK).is_file() else None


def _check_inside(path: str) -> None:
    """Refuses a path that leaves the order's folder."""
    parts = PurePosixPath(path).parts
    if not parts or parts[0] == "/" or ".." in parts:
        raise OrderError(f"{path!r} does not lie in the order's folder")
