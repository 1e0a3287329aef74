"""What the host asks for, read and checked key by key."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from edgecvx.board import MARK, PROTOCOL
from edgecvx.board.proof import Proof, read_proof

SKIPPABLE = ("memory", "end_to_end", "sustained")
_REQUIRED = object()


class OrderError(Exception):
    """The order makes no sense; the message is a sentence."""


@dataclass(frozen=True)
class Tensor:
    """A file's input."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    layout: str


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


@dataclass(frozen=True)
class Artifact:
    """One file in one runtime."""

    id: str
    runtime: str
    path: str
    """Relative to the order's folder, as every path in here."""
    threads: int | None
    options: Mapping[str, str]
    input: Tensor
    array: str
    """A ``.npy`` file that fits the input."""
    preprocess: Mapping[str, Any] | None
    logits: str | None
    """The output whose largest values are the answer."""
    proved: Proved | None = None
    """None for a file that nothing is known of: it is timed as it is."""


@dataclass(frozen=True)
class WarmUp:
    """Until two windows of ``window`` runs have medians within ``tolerance``, or patience ends."""

    window: int
    tolerance: float
    max_runs: int
    max_seconds: float


@dataclass(frozen=True)
class Order:
    """One measurement."""

    folder: Path
    artifacts: tuple[Artifact, ...]
    pictures: tuple[str, ...]
    rounds: int
    runs: int | None
    seconds: float | None
    end_to_end: bool
    memory: bool
    sustained_minutes: float
    warm_up: WarmUp
    seed: int
    """Of whatever the host drew for this measurement; the runner draws nothing."""
    first_round: int
    skip: Mapping[str, tuple[str, ...]]
    remove: bool
    lifeline_seconds: float | None
    patience_seconds: float

    def skips(self, artifact: Artifact, what: str) -> bool:
        """Whether the host has this already, from before a cut."""
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
    keys = _Keys(data, "the order")
    if keys.take("protocol", int) != PROTOCOL:
        raise OrderError(f"this runner speaks protocol {PROTOCOL}, the order {data['protocol']}; copy both anew")
    order = Order(
        folder=path.resolve().parent,
        artifacts=tuple(_artifact(a, f"artifact {i}") for i, a in enumerate(keys.take("artifacts", list))),
        pictures=tuple(_inside(p, "a picture") for p in keys.take("pictures", list, [])),
        rounds=keys.take("rounds", int),
        runs=keys.take("runs", (int, type(None)), None),
        seconds=keys.take("seconds", (int, float, type(None)), None),
        end_to_end=keys.take("end_to_end", bool, False),
        memory=keys.take("memory", bool, False),
        sustained_minutes=keys.take("sustained_minutes", (int, float), 0),
        warm_up=_warm_up(keys.take("warm_up", dict, {})),
        seed=keys.take("seed", int, 0),
        first_round=keys.take("first_round", int, 0),
        skip={str(k): tuple(v) for k, v in keys.take("skip", dict, {}).items()},
        remove=keys.take("remove", bool, False),
        lifeline_seconds=keys.take("lifeline_seconds", (int, float, type(None)), 60),
        patience_seconds=keys.take("patience_seconds", (int, float), 300),
    )
    keys.none_left()
    _check(order)
    return order


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


def _check(order: Order) -> None:
    ids = [a.id for a in order.artifacts]
    if not ids or len(set(ids)) != len(ids):
        raise OrderError("the order needs artifacts, each with an id of its own")
    if order.rounds < 1 or not 0 <= order.first_round <= order.rounds:
        raise OrderError(f"{order.rounds} rounds from round {order.first_round} on do not work")
    if (order.runs is None) == (order.seconds is None):
        raise OrderError("the order must say either runs or seconds")
    if (order.runs is not None and order.runs < 1) or (order.seconds is not None and order.seconds <= 0):
        raise OrderError("runs and seconds must be positive")
    unknown = {what for whats in order.skip.values() for what in whats} - set(SKIPPABLE)
    if unknown:
        raise OrderError(f"{sorted(unknown)[0]!r} cannot be skipped, only {', '.join(SKIPPABLE)}")


def _artifact(data: Any, where: str) -> Artifact:
    keys = _Keys(data, where)
    tensor = _Keys(keys.take("input", dict), f"{where}, input")
    artifact = Artifact(
        id=keys.take("id", str),
        runtime=keys.take("runtime", str),
        path=_inside(keys.take("path", str), where),
        threads=keys.take("threads", (int, type(None)), None),
        options={str(k): str(v) for k, v in keys.take("options", dict, {}).items()},
        input=Tensor(
            name=tensor.take("name", str),
            shape=tuple(int(d) for d in tensor.take("shape", list)),
            dtype=tensor.take("dtype", str),
            layout=tensor.take("layout", str),
        ),
        array=_inside(keys.take("array", str), where),
        preprocess=keys.take("preprocess", (dict, type(None)), None),
        logits=keys.take("logits", (str, type(None)), None),
        proved=_proved(keys.take("proved", (dict, type(None)), None), where),
    )
    tensor.none_left()
    keys.none_left()
    if artifact.threads is not None and artifact.threads < 1:
        raise OrderError(f"{where}: {artifact.threads} threads do not work: it must be at least 1")
    return artifact


def _proved(data: Any, where: str) -> Proved | None:
    if data is None:
        return None
    keys = _Keys(data, f"{where}, proved")
    try:
        proof = read_proof(keys.take("proof", dict))
    except (KeyError, TypeError) as error:
        raise OrderError(f"{where}: the proof is none: {error}") from error
    proved = Proved(
        proof=proof,
        probes=_inside(keys.take("probes", str), where),
        limit=keys.take("limit", (int, float)),
        remedy=keys.take("remedy", str),
    )
    keys.none_left()
    return proved


def _warm_up(data: Any) -> WarmUp:
    keys = _Keys(data, "warm_up")
    warm_up = WarmUp(
        window=keys.take("window", int, 10),
        tolerance=keys.take("tolerance", (int, float), 0.02),
        max_runs=keys.take("max_runs", int, 500),
        max_seconds=keys.take("max_seconds", (int, float), 20),
    )
    keys.none_left()
    if warm_up.window < 1 or warm_up.max_runs < 1:
        raise OrderError("warm_up: window and max_runs must be at least 1")
    return warm_up


def _inside(path: Any, where: str) -> str:
    """A path that stays in the order's folder."""
    parts = PurePosixPath(path).parts if isinstance(path, str) else ()
    if not parts or parts[0] == "/" or ".." in parts:
        raise OrderError(f"{where}: {path!r} does not lie in the order's folder")
    return str(path)


class _Keys:
    """A JSON object whose keys are taken one by one; what is left over is unknown."""

    def __init__(self, data: Any, where: str) -> None:
        if not isinstance(data, dict):
            raise OrderError(f"{where} must be an object, not {type(data).__name__}")
        self._data, self._where = dict(data), where

    def take(self, key: str, kind: type | tuple[type, ...], default: Any = _REQUIRED) -> Any:
        value = self._data.pop(key, default)
        if value is _REQUIRED:
            raise OrderError(f"{self._where} does not say {key!r}")
        kinds = kind if isinstance(kind, tuple) else (kind,)
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise OrderError(f"{self._where}: {key!r} cannot be {value!r}")
        return value

    def none_left(self) -> None:
        if self._data:
            raise OrderError(f"{self._where} has the unknown key {sorted(self._data)[0]!r}")
