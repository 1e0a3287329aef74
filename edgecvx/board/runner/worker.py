"""One runtime with one file, in a process of its own: opens it, runs it, times it.

It reads requests and writes answers, one line of JSON each; arrays and pictures it reads from files. Between requests
it sleeps, so that whoever's turn it is has the machine.
"""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import json
import os
import signal
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgecvx.board import engines
from edgecvx.board.batches import in_batches
from edgecvx.board.device import memory
from edgecvx.board.device.processors import this_processor
from edgecvx.board.engines.base import Refused, Session, refusals
from edgecvx.board.proof import difference, refusal
from edgecvx.board.runner.end_to_end import EndToEnd, Unsuited
from edgecvx.board.runner.order import Artifact, read_artifact

SETTLING = 2
"""Runs at the start of a turn that do not count: the caches still belong to the artifact before. With three artifacts
in three runtimes taking turns, the first run was 2 to 7% slower than the rest and the second was like the rest."""

_FIRST_RUNS = 3
"""After which a process holds what the model needs, for its memory."""

_RUN = "the run failed"

_PR_SET_PDEATHSIG = 1


def main(parent: int) -> int:
    """Serves one artifact over standard input and output.

    Args:
        parent: The coordinator, with which this process ends.
    """
    _end_with(parent)
    faulthandler.disable()
    # Ctrl-C and a closed terminal reach the whole process group; the coordinator decides what they mean.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # native code that prints to standard output must not break the answers
    job: Task | None = None
    for line in sys.stdin.buffer:
        request = json.loads(line)
        try:
            if job is None:
                job = Task(Path(request["folder"]), read_artifact(request["artifact"]))
            answer = job.answer(request)
        except Refused as error:
            answer = {"error": str(error)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    return 0


class Task:
    """What a worker has open."""

    def __init__(self, folder: Path, artifact: Artifact) -> None:
        import numpy as np

        self._folder, self._artifact = folder, artifact
        self._batch = np.load(folder / artifact.array, allow_pickle=False)
        if self._batch.shape != artifact.input.shape or self._batch.dtype != np.dtype(artifact.input.dtype):
            raise Refused(
                f"the array is {self._batch.dtype} {list(self._batch.shape)}, "
                f"the input {artifact.input.dtype} {list(artifact.input.shape)}"
            )
        self._batch = np.ascontiguousarray(self._batch)
        self._runtime = engines.load(artifact.runtime, artifact.options)
        self._session: Session | None = None
        self._end_to_end: EndToEnd | None = None

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Does what one request asks for."""
        done: dict[str, Any] = getattr(self, f"_do_{request['do']}")(request)
        return done

    def _do_compile(self, _: Mapping[str, Any]) -> dict[str, Any]:
        path = self._path()
        with refusals("compiling failed"):
            self._runtime.compile(path)
        return {}

    def _do_memory(self, _: Mapping[str, Any]) -> dict[str, Any]:
        runtime = memory.resident()
        session = self._open_session()
        for _run in range(_FIRST_RUNS):
            self._run(session)
        held = memory.resident()
        # Less than before: the system took memory back meanwhile, and what the file needs cannot be told.
        model = None if runtime is None or held is None or held < runtime else held - runtime
        return {"runtime": runtime, "model": model, "peak": memory.peak()}

    def _do_open(self, _: Mapping[str, Any]) -> dict[str, Any]:
        gc.collect()
        started = time.perf_counter_ns()
        session = self._open_session()
        opened = time.perf_counter_ns()
        self._run(session)
        ended = time.perf_counter_ns()
        self._session = session
        return {
            "load_ns": opened - started,
            "first_ns": ended - opened,
            "runtime_version": self._runtime.version,
            "backend": session.backend,
            "arithmetic": session.arithmetic,
            "threads": session.threads,
            "recheck": self._recheck(session),
        }

    def _recheck(self, session: Session) -> dict[str, Any] | None:
        """Holds the file to what it computed where it was proved; None where that was on such a processor."""
        artifact, proved = self._artifact, self._artifact.proved
        where = (this_processor().kind, artifact.runtime, artifact.options)
        if proved is None or proved.proof.holds(*where):
            return None
        import numpy as np

        probes = np.load(self._folder / proved.probes, allow_pickle=False)
        with refusals("running the probe pictures failed"):
            names = [output.name for output in session.outputs]
            answers = in_batches(
                lambda part: dict(zip(names, session.run(np.stack(part)))), probes, artifact.input.shape[0]
            )
        output, off = difference(proved.proof, answers)
        here, there = proved.proof.here(*where), proved.proof.there(*where[1:])
        if not off <= proved.limit:
            raise Refused(f"{refusal('it', here, there, output, off, proved.limit)}; {proved.remedy}")
        return {"here": here, "error": off}

    def _do_warm(self, request: Mapping[str, Any]) -> dict[str, Any]:
        session, batch = self._opened(), self._batch
        with refusals(_RUN):
            samples, steady = warm_up(_timed(lambda: session.run(batch)), **request["warm_up"])
        return {"samples_ns": samples, "steady": steady}

    def _do_prepare(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Makes end to end ready; says in words why there is none."""
        pictures = [(self._folder / path).read_bytes() for path in request["pictures"]]
        try:
            with refusals(_RUN):
                self._end_to_end = EndToEnd(self._opened(), self._artifact, pictures)
        except Unsuited as reason:
            return {"note": str(reason)}
        return {"note": None}

    def _do_turn(self, request: Mapping[str, Any]) -> dict[str, Any]:
        session, batch, whole = self._opened(), self._batch, self._end_to_end
        parts: dict[str, list[int]] = {}
        if request["kind"] == "model":
            sample = _timed(lambda: session.run(batch))
        elif whole is not None:
            sample, parts = whole.sample, whole.parts
        else:
            raise Refused("end to end was not made ready")
        gc.collect()
        gc.disable()  # a collection in the middle of a run would be timed with it
        try:
            with refusals(_RUN):
                settling = [sample() for _ in range(request["settle"])]
                for times in parts.values():
                    times.clear()
                samples = _repeat(sample, request["runs"], request["seconds"])
        finally:
            gc.enable()
        return {"samples_ns": samples, "parts_ns": parts, "settle_ns": settling}

    def _path(self) -> Path:
        path = self._folder / self._artifact.path
        if not path.exists():
            raise Refused(f"there is no file {self._artifact.path}")
        return path

    def _open_session(self) -> Session:
        path = self._path()
        with refusals("opening failed"):
            session: Session = self._runtime.open(path, self._artifact.threads)
        return session

    def _run(self, session: Session) -> None:
        with refusals(_RUN):
            session.run(self._batch)

    def _opened(self) -> Session:
        if self._session is None:
            raise Refused("the file was not opened")
        return self._session


def warm_up(
    sample: Callable[[], int], window: int, tolerance: float, max_runs: int, max_seconds: float
) -> tuple[list[int], bool]:
    """Runs until the medians of two windows in a row are as good as equal, or patience ends.

    Args:
        sample: One run; its time.
        window: Runs in a window.
        tolerance: Largest difference of the two medians, as a part of the first.
        max_runs: Most runs.
        max_seconds: Longest time; one run is made in any case.

    Returns:
        Every time, and whether they had become steady.
    """
    samples: list[int] = []
    before: float | None = None
    until = time.monotonic() + max_seconds
    while True:
        samples.append(sample())
        if len(samples) % window == 0:
            now = statistics.median(samples[-window:])
            if before is not None and abs(now - before) <= tolerance * before:
                return samples, True
            before = now
        if len(samples) >= max_runs or time.monotonic() >= until:
            return samples, False


def _timed(run: Callable[[], Any]) -> Callable[[], int]:
    clock = time.perf_counter_ns

    def sample() -> int:
        started = clock()
        run()
        return clock() - started

    return sample


def _repeat(sample: Callable[[], int], runs: int | None, seconds: float | None) -> list[int]:
    if runs is not None:
        return [sample() for _ in range(runs)]
    samples: list[int] = []
    until = time.monotonic() + (seconds or 0.0)
    while not samples or time.monotonic() < until:
        samples.append(sample())
    return samples


def _end_with(parent: int) -> None:
    """Asks Linux to kill this process with its parent; elsewhere the end of standard input has to do."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it was gone before it could be asked
        sys.exit(1)
