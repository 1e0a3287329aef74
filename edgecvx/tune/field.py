"""Where a race is run for real: files timed in turn on devices, and validated on pictures that nobody saw.

What was measured is kept below ``OUT/work``, by the content of files and pictures: a run that was stopped takes up the
same race, and a second one measures nothing again.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

import edgecvx
from edgecvx.accuracy.rows import PictureAnswers
from edgecvx.cluster.handle import Cluster
from edgecvx.errors import DeviceError, EdgecvxError
from edgecvx.files import write_atomically
from edgecvx.latency.devices.collect import At
from edgecvx.results.identity import identity_of
from edgecvx.results.latency import DeviceBench, Measured
from edgecvx.results.statistics import round_medians
from edgecvx.sweep.job import hash_of
from edgecvx.tune.pictures import Pictures
from edgecvx.tune.race.measured import Answers, Timing
from edgecvx.tune.references import rights_of
from edgecvx.tune.request import Model
from edgecvx.tune.space import Candidate
from edgecvx.tune.workshop import File, Workshop

RUNS_A_TURN = 5
"""A turn's median is then no single run's."""
TURNS = ("rounds", "least")
AT_ONCE = 10
"""Files in one turn-taking: each is a process, and has its memory."""


@dataclass(slots=True, kw_only=True)
class Field:
    """The files of candidates, measured on one device, or on several of which the worst counts."""

    workshop: Workshop
    pictures: Pictures
    devices: tuple[str, ...]
    cluster: Cluster | None = None
    """Where pictures are run; it rests while files are timed."""
    candidates: dict[str, Candidate] = field(default_factory=dict)
    """By the names they race under."""
    rounds: int = 0
    """Turns that were taken, over all calls: no number comes twice."""
    facts: dict[str, str] = field(default_factory=dict)
    """Device -> what it is."""
    on_part: Callable[[str], None] = lambda text: None
    _yardsticks: dict[tuple[str, int], Mapping[str, bool]] = field(default_factory=dict)

    @property
    def most_pictures(self) -> int:
        """Pictures that are left for races."""
        return self.pictures.count

    # Times

    def bench(self, names: Sequence[str], rounds: int) -> Mapping[str, Timing]:
        """So many more rounds of all of these in turn, on every device."""
        found: dict[str, Timing] = {}
        first = self.rounds
        for start in range(0, len(names), AT_ONCE):
            # Beyond so many the first file races again, so that all have turns beside one they share.
            group = list(dict.fromkeys([*names[start : start + AT_ONCE], *([names[0]] if start else [])]))
            timed = self._bench(group, rounds)
            for name, timing in timed.items():
                found[name] = timing if name not in found else _joined(found[name], timing)
        if self.rounds == first:
            self.rounds += rounds
        return found

    def _bench(self, names: Sequence[str], rounds: int) -> dict[str, Timing]:
        first, self.rounds = self.rounds, self.rounds + rounds
        files, errors = dict[str, File](), dict[str, str]()
        for name in names:
            with _kept(errors, name):
                files[name] = self.workshop.file(self.candidates[name])
        found = {name: Timing(rounds={}, error=error) for name, error in errors.items()}
        return found | (self._timed(files, rounds, first) if files else {})

    def _timed(self, files: Mapping[str, File], rounds: int, first: int) -> dict[str, Timing]:
        """Every file with every number of threads that any of them is run with: only so they lie side by side."""
        keys = {name: _key(hash_of_file(file), self.candidates[name].threads) for name, file in files.items()}
        asked = {
            "files": sorted(keys.values()),
            "rounds": [first, rounds],
            "devices": self.devices,
            "machine": self.pictures.machine if "local" in self.devices else None,
        }
        place = self.workshop.work / "times" / f"{hash_of(asked)[:24]}.json"
        if (known := _read_timings(place)) is None:
            known = self._measured(files, rounds, first)
            text = json.dumps({k: _as_json(t) for k, t in known.items()}, indent=1)
            write_atomically(place, text.encode())
        none = Timing(rounds={}, error="no device measured it")
        return {name: known.get(keys[name], none) for name in files}

    def _measured(self, files: Mapping[str, File], rounds: int, first: int) -> dict[str, Timing]:
        paths = {hash_of_file(file): file.path for file in files.values()}
        threads = dict.fromkeys(self.candidates[name].threads for name in files)
        result = edgecvx.benchmark(
            list(paths.values()),
            devices=self.devices,
            threads=tuple(threads),
            runs=RUNS_A_TURN * rounds,
            rounds=rounds,
            end_to_end=False,
            on_progress=self._heard,
            memory=self.workshop.request.limits.max_memory is not None,
        )
        for device in result.devices:
            if device.error is not None:
                raise DeviceError(f"{device.fingerprint.name}: {device.error}")
            self.facts[device.fingerprint.name] = _device_in_words(device)
        found = [_by_file(device, first) for device in result.devices]
        return {key: _worst([f[key] for f in found if key in f]) for key in dict.fromkeys(k for f in found for k in f)}

    def _heard(self, at: At) -> None:
        """From the threads of devices."""
        rounds = f" {at.round} of {at.of}" if at.doing == "rounds" else ""
        if not rounds or at.round % max(1, at.of // 2) == 0:
            self.on_part(f"{at.device}: {at.doing}{rounds}")

    # Answers

    def validate(self, name: str, pictures: int) -> Answers:
        """Who is right on the first so many pictures: the file, and its model in FP32 at its own size."""
        candidate = self.candidates[name]
        try:
            file, model = self.workshop.file(candidate), self.workshop.models[candidate.model]
            rights, own = self._rights(file, pictures, model)
            trained = candidate.size == model.own_size
            yardstick = own if trained else self._yardstick(candidate, pictures)
        except EdgecvxError as error:
            none = np.zeros(0, dtype=bool)
            return Answers(right=none, reference=none, error=str(error))
        shared = [picture for picture in rights if picture in yardstick]
        return Answers(
            right=np.array([rights[p] for p in shared], dtype=bool),
            reference=np.array([yardstick[p] for p in shared], dtype=bool),
        )

    def _yardstick(self, candidate: Candidate, pictures: int) -> Mapping[str, bool]:
        """What the model gets right as PyTorch computes it, at the size it was trained for."""
        model = self.workshop.models[candidate.model]
        asked = (model.name, pictures)
        if asked not in self._yardsticks:
            samples = self.pictures.racing(pictures)
            self._yardsticks[asked] = rights_of(self.workshop, samples, model, model.own_size)
        return self._yardsticks[asked]

    def _rights(self, file: File, pictures: int, model: Model) -> tuple[dict[str, bool], dict[str, bool]]:
        """Picture -> whether the file is right, and whether its own reference is."""
        asked = {"file": hash_of_file(file), "pictures": pictures, "data": self.pictures.key}
        place = self.workshop.work / "answers" / f"{hash_of(asked)[:24]}.json"
        if (known := _read_json(place)) is None:
            known = self._validated(file, pictures, model)
            write_atomically(place, json.dumps(known).encode())
        names = known["pictures"]
        return dict(zip(names, known["right"], strict=True)), dict(zip(names, known["reference"], strict=True))

    def _validated(self, file: File, pictures: int, model: Model) -> dict[str, Any]:
        heard: list[PictureAnswers] = []
        request = self.workshop.request
        reference: dict[str, Any] = {"checkpoints": request.checkpoints}
        if model.module is not None:
            reference = {"reference": model.module}
        result = edgecvx.validate(
            file.path,
            data=request.data,
            truth=request.truth,
            limit=pictures,
            seed=request.seed,
            exclude=self.pictures.seen,
            **reference,
            cluster=self.cluster,
            on_answers=heard.append,
        )
        (outcome,) = result.artifacts
        if outcome.error is not None or outcome.findings:
            why = outcome.error or outcome.findings[0].sentence
            raise EdgecvxError(f"{file.path.name}: {why}")
        if not heard:
            raise EdgecvxError(f"{request.data} has no labels: without them nothing is right or wrong")
        (answers,) = heard
        return {
            "pictures": list(answers.pictures),
            "right": answers.right.tolist(),
            "reference": answers.reference_right.tolist(),
        }


@contextlib.contextmanager
def _kept(errors: dict[str, str], name: str) -> Iterator[None]:
    """What goes wrong with one file is its own, and stops no other."""
    try:
        yield
    except EdgecvxError as error:
        errors[name] = str(error)


def hash_of_file(file: File) -> str:
    """Over all parts of a file."""
    return identity_of(file.path, file.manifest, None).sha256


def _by_file(device: DeviceBench, first: int) -> dict[str, Timing]:
    return {_key(m.identity.sha256, m.threads): _timing(m, device, first) for m in device.measured}


def _key(sha256: str, threads: int | None) -> str:
    return sha256 if threads is None else f"{sha256} x{threads}"


def _timing(m: Measured, device: DeviceBench, first: int) -> Timing:
    medians = {first + number: ns / 1e6 for number, ns in round_medians(m.model).items()}
    error = m.error
    if not medians and error is None:
        error = f"{device.fingerprint.name} gave no single runs of {m.identity.file}"
    return Timing(
        rounds=medians,
        least={first + turn.round: min(turn.samples_ns) / 1e6 for turn in m.model if turn.samples_ns},
        peak_bytes=m.memory.peak if m.memory else None,
        error=error,
        emulated=device.fingerprint.emulated,
    )


def _worst(timings: Sequence[Timing]) -> Timing:
    """One file on several devices: in each round, the slowest."""
    if not timings:
        return Timing(rounds={}, error="no device measured it")
    shared = set.intersection(*(set(t.rounds) for t in timings))
    return Timing(
        rounds={r: max(t.rounds[r] for t in timings) for r in sorted(shared)},
        least={r: max(t.least.get(r, t.rounds[r]) for t in timings) for r in sorted(shared)},
        peak_bytes=max(filter(None, (t.peak_bytes for t in timings)), default=None),
        error=next((t.error for t in timings if t.error), None),
        emulated=next((t.emulated for t in timings if t.emulated), None),
    )


def _joined(a: Timing, b: Timing) -> Timing:
    rounds, least = {**a.rounds, **b.rounds}, {**a.least, **b.least}
    return replace(a, rounds=rounds, least=least, error=a.error or b.error)


def _device_in_words(device: DeviceBench) -> str:
    f = device.fingerprint
    parts = [f.board or f.hostname, f.cpu, f"{f.cores} processors" if f.cores else None]
    noise = device.noise.sentence if device.noise is not None else None
    return ". ".join(filter(None, [", ".join(filter(None, parts)), noise]))


def _as_json(timing: Timing) -> dict[str, Any]:
    return {
        "rounds": {str(r): ms for r, ms in timing.rounds.items()},
        "least": {str(r): ms for r, ms in timing.least.items()},
        "peak_bytes": timing.peak_bytes,
        "error": timing.error,
        "emulated": timing.emulated,
    }


def _read_timings(path: Path) -> dict[str, Timing] | None:
    data = _read_json(path)
    if data is None:
        return None
    return {
        key: Timing(**{**timing, **{k: _numbered(timing.get(k, {})) for k in TURNS}}) for key, timing in data.items()
    }


def _numbered(turns: Mapping[str, float]) -> dict[int, float]:
    return {int(number): ms for number, ms in turns.items()}


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found
