"""A recipe as a graph of jobs: which files, each exported, validated and timed, and the keys of all of it."""

from __future__ import annotations

import functools
import importlib.util
import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgecvx.board.device.processors import this_processor
from edgecvx.data.calibration import open_calibration
from edgecvx.data.dataset import DEMO, open_data
from edgecvx.errors import UsageError, missing_package
from edgecvx.runtimes import availability
from edgecvx.spec import ModelSpec, Task, to_json
from edgecvx.sweep.cells import (
    Cell,
    LeftOut,
    cannot_be_timed,
    data_of,
    devices_of,
    expand,
    gate_of,
    sizes_asked,
    without_places,
)
from edgecvx.sweep.job import Job, hash_of_lines, versions
from edgecvx.sweep.recipe.reading import ReadRecipe
from edgecvx.sweep.recipe.values import Calibration, Data, Device, Model, Recipe
from edgecvx.sweep.work import as_given
from edgecvx.targets.base import Target

_CANONICAL = ("torch", "onnx", "onnx_ir", "numpy", "Pillow")
"""What every file is made with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A model of a recipe at one size, as far as jobs depend on it; its weights are let go."""

    spec: ModelSpec
    parameters: int
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What computes the answers of files: rows of other processors or runtimes are other rows."""

    processor: tuple[str, ...]
    runtimes: Callable[[str], str | None]
    """Name -> version."""


def here() -> Place:
    """This machine."""
    processor = this_processor()
    return Place(
        processor=(processor.machine, processor.kind or processor.name or "unknown"),
        runtimes=lambda name: availability(name).version,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedCell:
    """A file, and the keys of what is done with it."""

    cell: Cell
    export: str
    validations: Mapping[str, str] = field(default_factory=dict)
    """Data's name -> key."""
    benches: Mapping[str, str] = field(default_factory=dict)
    """Device's name -> key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything a sweep does, in an order in which it can be done."""

    recipe: Recipe
    jobs: Mapping[str, Job]
    """By key; a job comes after those before it."""
    cells: tuple[PlannedCell, ...]
    left_out: tuple[LeftOut, ...]
    warnings: tuple[str, ...]


def make_plan(read: ReadRecipe, place: Place) -> Plan:
    """The plan of a recipe; every checkpoint is read, and every picture hashed.

    Raises:
        EdgecvxError: A checkpoint or a folder of pictures cannot be read, or nothing is left to do.
    """
    return _Planner(read.recipe, place).plan()


class _Planner:
    """One recipe; what several jobs depend on is found once."""

    def __init__(self, recipe: Recipe, place: Place) -> None:
        self._recipe, self._place = recipe, place
        self._jobs: dict[str, Job] = {}
        self._left_out: list[LeftOut] = []
        self.network = functools.cache(self._network)
        self.calibrated_on = functools.cache(_calibrated_on)
        self.pictures = functools.cache(self._pictures)

    def plan(self) -> Plan:
        recipe = self._recipe
        own = {m.name: self.network(m, None).spec.preprocess.size for m in recipe.models}
        expansion = expand(recipe, sizes_asked(recipe, own))
        exports = {cell.name: self._export(cell) for cell in expansion.cells}
        validations = {cell.name: dict(self._validations(cell, exports[cell.name])) for cell in expansion.cells}
        benches: dict[str, dict[str, str]] = {cell.name: {} for cell in expansion.cells}
        for names, device, key in self._benches(expansion.cells, exports):
            for name in names:
                benches[name][device] = key
        cells = tuple(
            PlannedCell(
                cell=cell,
                export=exports[cell.name].key,
                validations=validations[cell.name],
                benches=benches[cell.name],
            )
            for cell in expansion.cells
        )
        warnings = [w for cell in expansion.cells for w in self.network(cell.model, cell.image_size).warnings]
        return Plan(
            recipe=recipe,
            jobs=self._jobs,
            cells=cells,
            left_out=(*expansion.left_out, *self._left_out),
            warnings=tuple(dict.fromkeys(warnings)),
        )

    def _add(self, job: Job) -> Job:
        return self._jobs.setdefault(job.key, job)

    # What jobs depend on

    def _network(self, model: Model, size: int | None) -> Network:
        if importlib.util.find_spec("torch") is None:
            raise missing_package("PyTorch, which reads the checkpoints of a sweep,", "onnx")
        from edgecvx.models.load import load_model

        loaded = load_model(
            as_given(model.model),
            weights=model.weights,
            image_size=size,
            labels=None if model.labels is None else Path(model.labels),
            seed=model.seed,
        )
        if model.task == Task.CLASSIFY.value and not loaded.spec.num_classes:
            raise UsageError(f"model {model.name} has no classifier: say task = 'features' or 'embed'")
        count = sum(p.numel() for p in loaded.module.parameters())
        return Network(spec=loaded.spec, parameters=count, warnings=loaded.warnings)

    def _excluded(self) -> tuple[str, ...]:
        """The content every file of the sweep is kept from: so all are validated on the same pictures."""
        folders = [c for c in self._recipe.calibrations if c.pictures != DEMO]
        return tuple(sorted({sha256 for c in folders for sha256 in self.calibrated_on(c)}))

    def _pictures(self, data: Data, classes: int, labels: tuple[str, ...] | None) -> tuple[str, int]:
        """The hash over what a validation would see of these pictures, and how many they are."""
        found = open_data(
            data.pictures,
            num_classes=classes,
            labels=labels,
            truth=data.truth,
            limit=data.limit,
            seed=data.seed,
            exclude=self._excluded(),
        )
        lines = itertools.chain(
            (f"{s.name} {s.sha256} {s.label}" for s in found.samples),
            (f"left out {s.name} {s.reason}" for s in found.skipped),
            (f"{found.kind} {found.name} {found.available} {found.excluded}",),
        )
        return hash_of_lines(lines), len(found.samples)

    # Jobs

    def _export(self, cell: Cell) -> Job:
        model, network = cell.model, self.network(cell.model, cell.image_size)
        calibration = {} if cell.calibration is None else self._calibration(cell.calibration)
        packages = [*_CANONICAL, *cell.target.format.tools, *(["nncf"] if _by_nncf(cell) else [])]
        checked_in = cell.target.format.checked_in
        same = {
            "spec": to_json(network.spec),
            "task": model.task,
            "precision": cell.precision.value,
            "input": self._recipe.input,
            "calibration": calibration,
        }
        depends = {
            **same,
            "target": _target(cell.target),
            "platforms": list(self._recipe.platforms) if cell.target.has_platforms else [],
            "tools": versions(packages),
            "runtime": [checked_in, self._place.runtimes(checked_in)],
        }
        call = {
            "model": model.model,
            "weights": model.weights,
            "labels": model.labels,
            "task": model.task,
            "seed": model.seed,
            "target": cell.target.name,
            "precision": cell.precision.value,
            "image_size": cell.image_size,
            "input_kind": self._recipe.input,
            "platforms": list(self._recipe.platforms) if cell.target.has_platforms else [],
            "calibration": None if cell.calibration is None else without_places(cell.calibration, "nothing"),
        }
        scale = {
            "parameters": float(network.parameters),
            "pixels": float(cell.image_size**2),
            "bits": float(cell.precision.bits),
            "calibrating": float(cell.calibration.samples if cell.calibration else 0),
        }
        together = json.dumps(["export", model.name, same, call["platforms"]], sort_keys=True)
        return self._add(Job(kind="export", name=cell.name, depends=depends, call=call, together=together, scale=scale))

    def _calibration(self, calibration: Calibration) -> dict[str, Any]:
        return {
            **without_places(calibration, "pictures", "samples"),
            "kind": "demo" if calibration.pictures == DEMO else "folder",
            "folder": DEMO if calibration.pictures == DEMO else Path(calibration.pictures).name,
            "pictures": list(self.calibrated_on(calibration)),
        }

    def _validations(self, cell: Cell, export: Job) -> Iterator[tuple[str, str]]:
        network = self.network(cell.model, cell.image_size)
        classifies = cell.model.task == Task.CLASSIFY.value
        for data in data_of(self._recipe, cell):
            classes, labels = (network.spec.num_classes, network.spec.labels) if classifies else (0, None)
            sha256, count = self.pictures(data, classes, labels)
            gate = gate_of(self._recipe, cell, data)
            limits = {"min_ratio": gate and gate.min_ratio, "max_drop": gate and gate.max_drop}
            options = {"limit": data.limit, "seed": data.seed, "truth": data.truth is not None, **limits}
            runtimes = sorted({cell.target.format.runtime, cell.target.format.checked_in})
            depends = {
                "pictures": sha256,
                "options": options,
                "processor": list(self._place.processor),
                "runtimes": {name: self._place.runtimes(name) for name in runtimes},
                "tools": versions(("torch", "numpy", "Pillow")),
            }
            call = {
                "export": export.key,
                "data": data.pictures,
                "truth": data.truth,
                "limit": data.limit,
                "seed": data.seed,
                **limits,
                "exclude": list(self._excluded()),
                "checkpoint": cell.model.model if network.spec.weights.kind == "file" else None,
            }
            if network.spec.weights.kind == "file" and cell.model.weights != "auto":
                call["checkpoint"] = cell.model.weights
            together = json.dumps(["validate", cell.model.name, cell.image_size, data.name, limits], sort_keys=True)
            job = Job(
                kind="validate",
                name=f"{cell.name} on {data.name}",
                depends=depends,
                before=(export.key,),
                call=call,
                together=together,
                scale={"pictures": float(count), "work": network.parameters * float(cell.image_size**2)},
            )
            yield data.name, self._add(job).key

    def _benches(
        self, cells: tuple[Cell, ...], exports: Mapping[str, Job]
    ) -> Iterator[tuple[tuple[str, ...], str, str]]:
        """The cells of each measurement, its device, and its key."""
        for device in self._recipe.devices:
            groups: dict[tuple[str, int], list[Cell]] = {}
            for cell in cells:
                if device not in devices_of(self._recipe, cell):
                    continue
                if reason := cannot_be_timed(cell, device):
                    self._left_out.append(LeftOut(name=f"{cell.name} on {device.name}", reason=reason))
                    continue
                groups.setdefault((cell.model.name, cell.image_size), []).append(cell)
            for (model, size), group in groups.items():
                for first in range(0, len(group), device.together):
                    part = group[first : first + device.together]
                    number = f" {first // device.together + 1}" if len(group) > device.together else ""
                    job = self._bench(f"{model}-{size}{number} on {device.name}", part, device, exports)
                    yield tuple(cell.name for cell in part), device.name, job.key

    def _bench(self, name: str, cells: list[Cell], device: Device, exports: Mapping[str, Job]) -> Job:
        opened = {cell.target.format.runtime for cell in cells}
        choices = [text for text in device.runtimes if text.partition(":")[0] in opened]
        call = {
            **without_places(device, "together", "tries", "runtimes"),
            "runtimes": choices,
            "exports": [exports[cell.name].key for cell in cells],
        }
        how = without_places(device, "together", "tries", "runtimes", "wait_minutes", "adb_benchmark")
        runs = float(device.runs or 200) if device.seconds is None else 0.0
        times = len(cells) * max(1, len(device.threads)) * max(1, len(choices))
        job = Job(
            kind="bench",
            name=name,
            depends={**how, "runtimes": choices},
            before=tuple(exports[cell.name].key for cell in cells),
            call=call,
            together=name,
            lane=device.name,
            scale={"runs": times * runs * (2 if device.end_to_end else 1), "seconds": times * (device.seconds or 0.0)},
        )
        return self._add(job)


def _calibrated_on(calibration: Calibration) -> tuple[str, ...]:
    """The content hashes of the pictures that a calibration takes."""
    chosen = open_calibration(
        DEMO if calibration.pictures == DEMO else Path(calibration.pictures), samples=calibration.samples
    )
    return tuple(sample.sha256 for sample in chosen.samples)


def _target(target: Target) -> dict[str, Any]:
    """Everything about a target that its files depend on."""
    told = target.as_json()
    return {key: told[key] for key in ("name", "format", "suffix", "runtime", "proved_in", "schemes", "settings")}


def _by_nncf(cell: Cell) -> bool:
    return cell.calibration is not None and cell.calibration.quantizer == "nncf"
