"""Measures what an order asks for, in turns that treat every artifact alike.

First what this device has to compile. Then the memory of each artifact, in a process that does nothing else. Then all
are opened, each in a process that keeps it, and warmed up. Then the rounds: one turn each, forwards and backwards by
turns (A B, B A, A B, …), so that a machine that grows warm or slow does so for all alike. Last, if asked for, each
alone without a pause.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from edgecvx.board.device import memory
from edgecvx.board.device.conditions import conditions, fastest_mhz, hottest
from edgecvx.board.engines import COMPILED, COMPILING
from edgecvx.board.runner.host import Host
from edgecvx.board.runner.order import Artifact, Order
from edgecvx.board.runner.worker import SETTLING
from edgecvx.board.runner.worker_process import Worker, WorkerError
from edgecvx.board.runner.yardstick import yardstick_ns

WINDOW_SECONDS = 3.0
"""Of a sustained run: long enough for a median, short enough to see a clock go down."""

_TO_SPARE = 1.1
"""Of what the next artifact is expected to take, so much must be free before it is opened."""

_HONEST = 10.0
"""On top of the order's patience, a turn may take so many times what it is expected to, before it counts as hung."""


@dataclass(frozen=True)
class _Asked:
    """What a worker is asked for in one turn."""

    kind: str
    runs: int | None
    seconds: float | None
    settle: int


class Measurement:
    """One order on its way."""

    def __init__(self, order: Order, host: Host) -> None:
        self._order, self._host = order, host
        self._began = time.monotonic()
        self._alive: dict[str, Worker] = {}
        self._slow: dict[str, float] = {}
        """The last known seconds of one run, by artifact and kind."""
        self._ready: set[str] = set()
        """Artifacts that can be measured end to end."""
        self._uncompiled: dict[str, str] = {}
        """Why a file could not be compiled, by its path; several artifacts may be of one file."""
        self._took: dict[str, int] = {}
        """Bytes that an artifact's process is known to take."""

    def run(self) -> None:
        """Everything the order asks for; the artifacts' errors are events and end nothing else.

        Raises:
            HostGone: The host is gone.
        """
        order, host = self._order, self._host
        host.send("before", conditions=conditions())
        try:
            for artifact in order.artifacts:
                if artifact.runtime in COMPILED and not host.stopping:
                    self._compile(artifact)
            for artifact in self._whole():
                if order.memory and not order.skips(artifact, "memory") and not host.stopping:
                    self._memory(artifact)
            if self._open_all():
                self._rounds()
                self._sustained()
        finally:
            self.stop()
        host.send("after", conditions=conditions())

    def stop(self) -> None:
        """Ends every worker."""
        while self._alive:
            self._alive.popitem()[1].stop()

    def _compile(self, artifact: Artifact) -> None:
        if artifact.path not in self._uncompiled:
            self._host.send("compiling", id=artifact.id)
            worker = self._start(artifact)
            try:
                self._ask(worker, artifact, "it was compiled", "compile", COMPILING)
                return
            except WorkerError as error:
                self._uncompiled[artifact.path] = str(error)
            finally:
                worker.stop()
        self._host.send("error", id=artifact.id, sentence=self._uncompiled[artifact.path])

    def _whole(self) -> list[Artifact]:
        """The artifacts that can be opened, as far as is known."""
        return [artifact for artifact in self._order.artifacts if artifact.path not in self._uncompiled]

    def _memory(self, artifact: Artifact) -> None:
        worker = self._start(artifact)
        try:
            found = self._ask(worker, artifact, "its memory was measured", "memory")
        except WorkerError as error:
            # The rounds will meet the same end, unless it was the memory itself; it is their error then.
            self._host.send("note", id=artifact.id, kind="memory", sentence=str(error))
            return
        finally:
            worker.stop()
        if found["peak"] is not None:
            self._took[artifact.id] = found["peak"]
        self._host.send("memory", id=artifact.id, memory=found)

    def _open_all(self) -> bool:
        """Opens and warms all artifacts that can be; False when the device's memory does not hold them."""
        for number, artifact in enumerate(self._whole()):
            if self._host.stopping:
                return True
            if (sentence := self._too_little(artifact, number)) is not None:
                self._host.send("error", id=None, sentence=sentence)
                return False
            worker = self._alive[artifact.id] = self._start(artifact)
            try:
                self._open(worker, artifact)
            except WorkerError as error:
                self._lose(artifact, error)
        return True

    def _too_little(self, artifact: Artifact, opened: int) -> str | None:
        """Why the next artifact cannot be held open beside the ones before; None where it can, or nobody knows."""
        free = memory.available()
        held = [size for size in (worker.resident() for worker in self._alive.values()) if size is not None]
        needed = self._took.get(artifact.id, max(held, default=0))
        if free is None or needed * _TO_SPARE <= free:
            return None
        total = len(self._order.artifacts)
        return (
            f"the device's memory holds {opened} of {total} artifacts open side by side: the next takes "
            f"{needed / 1e6:.0f} MB, {free / 1e6:.0f} MB are free; measure fewer at once"
        )

    def _open(self, worker: Worker, artifact: Artifact) -> None:
        opened = self._ask(worker, artifact, "it was opened", "open")
        self._slow[artifact.id + "model"] = opened["first_ns"] / 1e9
        self._host.send("opened", id=artifact.id, **opened)
        warm_up = self._order.warm_up
        patience = warm_up.max_seconds + opened["first_ns"] / 1e9 * _HONEST
        warm = self._ask(worker, artifact, "it was warmed up", "warm", patience, warm_up=dataclasses.asdict(warm_up))
        self._host.send("warm", id=artifact.id, **warm)
        if self._order.end_to_end and not self._order.skips(artifact, "end_to_end"):
            self._prepare(worker, artifact)

    def _prepare(self, worker: Worker, artifact: Artifact) -> None:
        doing = "it was made ready for pictures"
        note = self._ask(worker, artifact, doing, "prepare", pictures=list(self._order.pictures))["note"]
        if note is None:
            self._ready.add(artifact.id)
        else:
            self._host.send("note", id=artifact.id, kind="end_to_end", sentence=note)

    def _rounds(self) -> None:
        order = self._order
        for number in range(order.first_round, order.rounds):
            for kind, artifact in self._turns(number):
                if self._host.stopping:
                    return
                if artifact.id in self._alive and (kind == "model" or artifact.id in self._ready):
                    self._turn(number, kind, artifact)
            if not self._alive:
                return
            self._host.send("round", round=number + 1, of=order.rounds)

    def _turns(self, number: int) -> Iterator[tuple[str, Artifact]]:
        """All turns of a round. Turns of one kind lie side by side: those are the ones that are compared."""
        artifacts = self._order.artifacts if number % 2 == 0 else self._order.artifacts[::-1]
        for kind in ("model", "end_to_end"):
            for artifact in artifacts:
                yield kind, artifact

    def _turn(self, number: int, kind: str, artifact: Artifact) -> None:
        order = self._order
        yardstick = yardstick_ns()
        try:
            runs, seconds = order.runs_in(number), order.seconds_of_turn
            turn = self._measure(artifact, _Asked(kind, runs, seconds, settle=SETTLING), number, yardstick)
            self._alive[artifact.id].rest()
        except WorkerError as error:
            self._lose(artifact, error)
        else:
            self._host.send("turn", id=artifact.id, kind=kind, turn=turn)

    def _sustained(self) -> None:
        for artifact in self._order.artifacts:
            if artifact.id not in self._alive or self._order.skips(artifact, "sustained"):
                continue
            window, until = 0, time.monotonic() + self._order.sustained_minutes * 60
            try:
                while (left := until - time.monotonic()) > 0 and not self._host.stopping:
                    asked = _Asked("model", None, min(left, WINDOW_SECONDS), settle=0)
                    turn = self._measure(artifact, asked, window, None)
                    self._host.send("window", id=artifact.id, turn=turn)
                    window += 1
            except WorkerError as error:
                self._lose(artifact, error)

    def _measure(self, artifact: Artifact, asked: _Asked, number: int, yardstick: int | None) -> dict[str, Any]:
        """One turn, as ``latency.Turn`` has it."""
        started = time.monotonic() - self._began
        one = self._slow.get(artifact.id + asked.kind, self._slow[artifact.id + "model"])
        patience = ((asked.seconds or 0.0) + one * ((asked.runs or 1) + asked.settle)) * _HONEST
        worker, content = self._alive[artifact.id], dataclasses.asdict(asked)
        answer = self._ask(worker, artifact, "it was timed", "turn", patience, **content)
        self._slow[artifact.id + asked.kind] = max(answer["samples_ns"]) / 1e9
        return {
            "round": number,
            "started": started,
            "yardstick_ns": yardstick,
            **answer,
            "celsius": hottest(),
            "mhz": fastest_mhz(),
        }

    def _start(self, artifact: Artifact) -> Worker:
        return Worker(self._host, artifact.runtime, artifact.threads)

    def _ask(
        self, worker: Worker, artifact: Artifact, doing: str, do: str, longer: float = 0.0, **content: Any
    ) -> dict[str, Any]:
        """Asks a worker, with ``longer`` seconds on top of the order's patience."""
        request = {
            "do": do,
            "folder": str(self._order.folder),
            "artifact": dataclasses.asdict(artifact),
            **content,
        }
        return worker.ask(doing, request, self._order.patience_seconds + longer)

    def _lose(self, artifact: Artifact, error: WorkerError) -> None:
        self._alive.pop(artifact.id).stop()
        self._host.send("error", id=artifact.id, sentence=str(error))
