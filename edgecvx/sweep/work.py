"""What the jobs of a sweep do: several of a kind in one call, each with a result of its own.

A result does not tell whether its job was done alone or with others: what they share (the checkpoint, the calibration,
the reference, the decoded pictures) is made once, and what is said of one file alone stands in its own result.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecvx.errors import DeviceError, EdgecvxError
from edgecvx.manifest import read_manifest
from edgecvx.spec import InputKind
from edgecvx.targets import get_target

if TYPE_CHECKING:
    from edgecvx.cluster.handle import Cluster
    from edgecvx.pipeline import ExportResult
    from edgecvx.results.accuracy import Validation

VALIDATION, BENCHMARK = "validation.json", "benchmark.json"
"""The files of those results."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A job on its way, as plain values: it may be carried out in another process, on another machine."""

    key: str
    name: str
    call: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A job whose files lie in the folder of its key."""

    key: str
    main: str
    seconds: float
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A job without a result."""

    key: str
    sentence: str
    again: bool = False
    """Whether another try may help: a device that did not answer."""
    crashed: bool = False
    """Whether its process died, perhaps of another job that was done in it."""


Outcome = Done | Failed
Tell = Callable[[str, int, int], None]
"""Takes what is being done, how much of it is, and of how much."""


def carry_out(
    kind: str,
    tasks: Sequence[Task],
    inputs: Mapping[str, Path],
    folder: Path,
    tell: Tell,
    cluster: Cluster | None = None,
) -> Iterator[Outcome]:
    """Does jobs of one kind that belong together.

    Args:
        kind: Of the jobs.
        tasks: The jobs.
        inputs: Key -> the artifact that an earlier job wrote.
        folder: Where each result gets a folder of its key.
        tell: Called as it goes on.
        cluster: Where pictures are validated; this process where there is none.
    """
    if kind == "export":
        yield from _export(tasks, folder, tell)
    elif kind == "validate":
        yield from _validate(tasks, inputs, folder, tell, cluster)
    else:
        yield from (_bench(task, inputs, folder, tell) for task in tasks)


# Export


def _export(tasks: Sequence[Task], folder: Path, tell: Tell) -> Iterator[Outcome]:
    """Every target in one call, as far as their files have names of their own; one by one where that fails."""
    by_suffix: dict[str, list[Task]] = {}
    for task in tasks:
        by_suffix.setdefault(get_target(task.call["target"]).format.suffix, []).append(task)
    for several in itertools.zip_longest(*by_suffix.values()):
        group = [task for task in several if task is not None]
        began = time.monotonic()
        try:
            result = _export_once(group, folder, tell)
        except EdgecvxError as error:
            if len(group) > 1:
                yield from itertools.chain.from_iterable(_export([task], folder, tell) for task in group)
            else:
                yield Failed(key=group[0].key, sentence=str(error))
            continue
        seconds = (time.monotonic() - began) / len(group)
        written = {artifact.target: artifact for artifact in result.artifacts}
        for task in group:
            artifact = written[task.call["target"]]
            _move(artifact.path, folder / task.key)
            warnings = _own(result.warnings, [a.path.name for a in result.artifacts if a is not artifact])
            yield Done(key=task.key, main=artifact.path.name, seconds=seconds, warnings=warnings)


def _export_once(group: Sequence[Task], folder: Path, tell: Tell) -> ExportResult:
    from edgecvx.pipeline import export

    call = group[0].call
    return export(
        as_given(call["model"]),
        target=[task.call["target"] for task in group],
        precision=call["precision"],
        weights=call["weights"],
        task=call["task"],
        image_size=call["image_size"],
        input_kind=InputKind(call["input_kind"]),
        labels=call["labels"],
        platforms=call["platforms"],
        seed=call["seed"],
        out=folder / "written",
        on_step=lambda step: tell(step.name, step.index, step.total),
        **_calibrating(call["calibration"]),
    )


def _calibrating(calibration: Mapping[str, Any] | None) -> dict[str, Any]:
    """The options of a precision that is calibrated; others refuse them."""
    if calibration is None:
        return {}
    return {
        "calib": as_given(calibration["pictures"]),
        "calib_samples": calibration["samples"],
        "quantizer": calibration["quantizer"],
        "estimator": calibration["estimator"],
    }


def as_given(text: str) -> str | Path:
    """What a recipe's reader made absolute is a path, and everything else a name."""
    return Path(text) if Path(text).is_absolute() else text


def _move(path: Path, folder: Path) -> None:
    """An artifact out of the folder it was written into, its manifest with it."""
    folder.mkdir(parents=True)
    names = {Path(entry.path).parts[0] for entry in read_manifest(path).files}
    for name in (*sorted(names), *(p.name for p in path.parent.glob(f"{path.name}.*"))):
        if (path.parent / name).exists():
            (path.parent / name).rename(folder / name)


def _own(warnings: Sequence[str], others: Sequence[str]) -> tuple[str, ...]:
    """Without those that name another file than one's own."""
    return tuple(w for w in warnings if not any(name in w for name in others))


# Validate


def _validate(
    tasks: Sequence[Task], inputs: Mapping[str, Path], folder: Path, tell: Tell, cluster: Cluster | None
) -> Iterator[Outcome]:
    from edgecvx.results.accuracy import as_json

    paths = [inputs[task.call["export"]] for task in tasks]
    began = time.monotonic()
    try:
        validation = _validate_once(tasks, paths, tell, cluster)
    except EdgecvxError as error:
        if len(tasks) > 1:
            for task in tasks:
                yield from _validate([task], inputs, folder, tell, cluster)
        else:
            yield Failed(key=tasks[0].key, sentence=str(error))
        return
    seconds = (time.monotonic() - began) / len(tasks)
    for index, task in enumerate(tasks):
        own = _alone(validation, index, paths)
        if (error_text := own.artifacts[0].error) is not None:
            yield Failed(key=task.key, sentence=error_text)
            continue
        (folder / task.key).mkdir(parents=True)
        (folder / task.key / VALIDATION).write_text(as_json(own), encoding="utf-8")
        yield Done(key=task.key, main=VALIDATION, seconds=seconds, warnings=own.warnings)


def _validate_once(tasks: Sequence[Task], paths: Sequence[Path], tell: Tell, cluster: Cluster | None) -> Validation:
    from edgecvx.accuracy.validate import Progress, validate

    call = tasks[0].call

    def told(at: Progress) -> None:
        tell(f"{at.artifact}: pictures", at.done, at.total)

    return validate(
        paths,
        data=as_given(call["data"]),
        truth=call["truth"],
        limit=call["limit"],
        seed=call["seed"],
        min_ratio=call["min_ratio"],
        max_drop=call["max_drop"],
        exclude=frozenset(call["exclude"]),
        checkpoints=[] if call["checkpoint"] is None else [call["checkpoint"]],
        on_progress=told,
        cluster=cluster,
    )


def _alone(validation: Validation, index: int, paths: Sequence[Path]) -> Validation:
    """One outcome, as a validation of that file alone would tell it."""
    outcome = validation.artifacts[index]
    others = [path.name for path in paths if path.name != paths[index].name]
    if outcome.reference is not None:
        # Which of two jobs came first, and computed the reference for both, is chance.
        outcome = dataclasses.replace(outcome, reference=dataclasses.replace(outcome.reference, from_cache=0))
    identity = dataclasses.replace(outcome.identity, file=paths[index].name)
    outcome = dataclasses.replace(outcome, identity=identity)
    return dataclasses.replace(validation, artifacts=(outcome,), warnings=_own(validation.warnings, others))


# Bench


def _bench(task: Task, inputs: Mapping[str, Path], folder: Path, tell: Tell) -> Outcome:
    from edgecvx.latency.bench import as_json, benchmark
    from edgecvx.latency.devices.collect import At

    call = task.call

    def told(at: At) -> None:
        tell(at.doing, at.round, at.of)

    began = time.monotonic()
    try:
        result = benchmark(
            [inputs[key] for key in call["exports"]],
            devices=call["device"],
            threads=call["threads"] or None,
            runs=call["runs"],
            seconds=call["seconds"],
            rounds=call["rounds"],
            end_to_end=call["end_to_end"],
            memory=call["memory"],
            runtimes=call["runtimes"],
            python=call["python"],
            adb_benchmark=call["adb_benchmark"],
            wait_minutes=call["wait_minutes"],
            on_progress=told,
        )
    except DeviceError as error:
        return Failed(key=task.key, sentence=str(error), again=True)
    except EdgecvxError as error:
        return Failed(key=task.key, sentence=str(error))
    (device,) = result.devices
    if device.error is not None:  # it was lost on the way
        return Failed(key=task.key, sentence=device.error, again=True)
    (folder / task.key).mkdir(parents=True)
    (folder / task.key / BENCHMARK).write_text(as_json(result), encoding="utf-8")
    return Done(key=task.key, main=BENCHMARK, seconds=time.monotonic() - began, warnings=result.warnings)
