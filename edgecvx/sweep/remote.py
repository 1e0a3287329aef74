"""A sweep on a cluster: its workers export, validate, and time what is on devices that they say they reach.

What a worker writes goes back to whoever asked, who alone publishes results: a worker that is lost takes nothing with
it but what it had under way. A worker that drives a board says so when it starts: ``--resources "board:kitchen=1"``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from edgecvx.cluster import calls
from edgecvx.cluster.connect import connect
from edgecvx.cluster.handle import Cluster, Pending, Word
from edgecvx.cluster.parcels import Parcel, fetch
from edgecvx.data.calibration import open_calibration
from edgecvx.data.dataset import DEMO
from edgecvx.errors import EdgecvxError
from edgecvx.manifest import read_manifest
from edgecvx.sweep.child import Stopped, in_child
from edgecvx.sweep.execute import Child, tasks_of
from edgecvx.sweep.job import Job
from edgecvx.sweep.machines import is_among
from edgecvx.sweep.plan import Place
from edgecvx.sweep.store import place_copy
from edgecvx.sweep.work import Done, Failed, Outcome, Task, Tell, carry_out

if TYPE_CHECKING:
    from distributed import Client

_BESIDE = ("config.json", "preprocessor_config.json")
"""What is read beside a checkpoint."""
_LOOK = 0.5
Sent = tuple[Outcome, Mapping[str, bytes]]
"""What comes of a job on a worker, and the files of its result."""


@contextlib.contextmanager
def on_cluster(where: str | Client) -> Iterator[tuple[Workers, Place]]:
    """Those who work on a cluster, and what their answers depend on.

    Raises:
        ClusterError: Nobody answers there, or the workers cannot work together.
    """
    with connect(where) as cluster:
        yield Workers(cluster), _place(cluster)


def _place(cluster: Cluster) -> Place:
    """As ``plan.here`` tells it of this machine: a sweep that began here may go on there."""
    kinds = sorted({(facts.machine, facts.processor) for facts in cluster.workers})
    versions = cluster.workers[0].versions
    return Place(processor=tuple(text for kind in kinds for text in kind), runtimes=versions.get)


class Workers:
    """The hands of a cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._doing: dict[str, str] = {}
        self._hosts = {host for f in cluster.workers if (host := urlsplit(f.worker).hostname)}
        cluster.on_word = self._hear

    def fitting(self, ready: Sequence[Job]) -> Sequence[Job]:
        """Every export there is, so that all workers have something to do; validations over the same pictures."""
        kind, together = ready[0].kind, ready[0].together
        return [job for job in ready if job.kind == kind and (kind == "export" or job.together == together)]

    def carry_out(
        self, jobs: Sequence[Job], inputs: Mapping[str, Path], folder: Path, tell: Tell, stop: threading.Event
    ) -> Iterator[Outcome]:
        """Exports on a worker each, as many at once as there are; pictures over all of them."""
        if jobs[0].kind == "validate":
            yield from carry_out("validate", tasks_of(jobs), inputs, folder, _stopping(tell, stop), self._cluster)
            return
        groups: dict[str, list[Job]] = {}
        for job in jobs:
            groups.setdefault(job.together, []).append(job)
        pending: dict[int, Pending] = {}
        parcels: dict[str, Parcel] = {}
        for group in groups.values():
            needed = _files_of(group[0].call, folder)
            parcels |= {text: self._cluster.send(p, _beside(p)) for text, p in needed.items() if text not in parcels}
            used = {text: parcels[text] for text in needed}
            call = self._cluster.submit(done_there, "export", tasks_of(group), used, {}, key=_key(group))
            pending[id(call)] = call
        yield from self._results(pending, folder, tell, stop)
        self._doing.clear()

    def _results(
        self, pending: dict[int, Pending], folder: Path, tell: Tell, stop: threading.Event
    ) -> Iterator[Outcome]:
        total = len(pending)
        try:
            while pending:
                if stop.is_set():
                    raise Stopped
                tell("files on their way", total - len(pending), total)
                call = self._cluster.settled(timeout=_LOOK)
                if call is not None and pending.pop(id(call), None) is not None:
                    yield from received(call, folder)
        finally:
            self._cluster.cancel(pending.values())

    def device(
        self, job: Job, inputs: Mapping[str, Path], folder: Path, tell: Tell, stop: threading.Event
    ) -> Iterator[Outcome]:
        """By a worker that says it reaches the device, or else from here."""
        resource = f"board:{job.lane}"
        if not self._offers(resource):
            yield from Child().device(job, inputs, folder, tell, stop)
            return
        # A connection of its own: this runs beside what is computed.
        with connect(self._cluster.client.scheduler.address) as cluster:
            parcels = {key: cluster.send(path, _beside_artifact(path)) for key, path in inputs.items()}
            cluster.on_word = lambda word: tell(f"on {_short(word.worker)}", word.done, word.of)
            task = tasks_of([job])
            call = cluster.submit(done_there, "bench", task, {}, parcels, key=_key([job]), resources={resource: 1})
            try:
                while True:
                    if stop.is_set():
                        raise Stopped
                    if cluster.settled(timeout=_LOOK) is call:
                        break
            finally:
                cluster.cancel([call])
            yield from received(call, folder)

    def workers(self) -> Mapping[str, str]:
        """What each said last."""
        return {_short(facts.worker): self._doing.get(facts.worker, "") for facts in self._cluster.workers}

    def shares(self, device: str) -> bool:
        """Whether a device is this machine or one with a worker."""
        return is_among(device, self._hosts)

    def _hear(self, word: Word) -> None:
        part = f" {word.done} of {word.of}" if word.of else ""
        self._doing[word.worker] = word.key + part

    def _offers(self, resource: str) -> bool:
        workers: Mapping[str, Any] = self._cluster.client.scheduler_info(n_workers=-1)["workers"]
        return any(resource in worker.get("resources", {}) for worker in workers.values())


def _stopping(tell: Tell, stop: threading.Event) -> Tell:
    """Ends a validation at its next word where the sweep was stopped."""

    def told(text: str, done: int, of: int) -> None:
        if stop.is_set():
            raise Stopped
        tell(text, done, of)

    return told


def received(call: Pending, folder: Path) -> Iterator[Outcome]:
    """What came of a call: files where a result's files go, and the outcomes."""
    tasks: Sequence[Task] = call.call.args[1]
    try:
        sent: Sequence[Sent] = call.result()
    except EdgecvxError as error:
        yield from (Failed(key=task.key, sentence=str(error)) for task in tasks)
        return
    for outcome, files in sent:
        for path, content in files.items():
            target = folder / outcome.key / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        yield outcome


def _key(jobs: Sequence[Job]) -> str:
    return f"{jobs[0].kind} {jobs[0].name}" + (f" and {len(jobs) - 1} more" if len(jobs) > 1 else "")


def _short(worker: str) -> str:
    return worker.partition("://")[2] or worker


def _files_of(call: Mapping[str, Any], folder: Path) -> dict[str, Path]:
    """What a worker needs of this machine for an export: as its call names it -> where it is."""
    named = [call["model"], call["weights"], call["labels"]]
    found = {text: Path(text) for text in named if text is not None and Path(text).is_absolute()}
    calibration = call["calibration"]
    if calibration is not None and calibration["pictures"] != DEMO:
        found[calibration["pictures"]] = _chosen(Path(calibration["pictures"]), calibration["samples"], folder)
    return found


def _chosen(pictures: Path, samples: int, folder: Path) -> Path:
    """A folder with those pictures that a calibration takes, and no others: of these it takes the same."""
    place = folder / "calibration" / str(samples) / pictures.name
    for sample in open_calibration(pictures, samples=samples).samples:
        if sample.path is not None:
            place_copy(sample.path, place / sample.name)
    return place


def _beside(path: Path) -> list[str]:
    """The files beside a checkpoint that are read with it."""
    return [name for name in _BESIDE if path.is_file() and (path.parent / name).is_file()]


def _beside_artifact(path: Path) -> list[str]:
    """The other files of an artifact, its manifest among them."""
    names = {Path(entry.path).parts[0] for entry in read_manifest(path).files}
    names |= {p.name for p in path.parent.glob(f"{path.name}.*")}
    return sorted(names - {path.name})


# On a worker


def done_there(
    kind: str, tasks: Sequence[Task], files: Mapping[str, Parcel], inputs: Mapping[str, Parcel]
) -> list[Sent]:
    """Carries out jobs on the worker that this process is, in a process of their own.

    Args:
        kind: Of the jobs.
        tasks: The jobs.
        files: What their calls name by a path of whoever asks.
        inputs: Key -> the artifact of an earlier job.
    """
    places = {text: str(fetch(parcel)) for text, parcel in files.items()}
    there = [dataclasses.replace(task, call=_moved(task.call, places)) for task in tasks]
    root = calls.folder()
    root.mkdir(parents=True, exist_ok=True)
    name = f"{kind} {tasks[0].name}" + (f" and {len(tasks) - 1} more" if len(tasks) > 1 else "")
    with tempfile.TemporaryDirectory(dir=root) as temporary:
        folder = Path(temporary)
        fetched = {key: fetch(parcel) for key, parcel in inputs.items()}
        outcomes = in_child(
            kind, there, fetched, folder, lambda text, done, of: calls.tell(name, done, of), threading.Event()
        )
        return [(outcome, _contents(folder / outcome.key) if isinstance(outcome, Done) else {}) for outcome in outcomes]


def _moved(value: Any, places: Mapping[str, str]) -> Any:
    """A call with every path that was sent in place of the one it was called by."""
    if isinstance(value, Mapping):
        return {key: _moved(item, places) for key, item in value.items()}
    return places.get(value, value) if isinstance(value, str) else value


def _contents(folder: Path) -> dict[str, bytes]:
    return {os.fspath(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
