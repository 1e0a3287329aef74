"""The cells of a sweep: every file it makes, and where each is validated and timed."""

from __future__ import annotations

import dataclasses
import itertools
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from edgecvx.errors import UsageError
from edgecvx.runtimes import availability
from edgecvx.spec import InputKind, Precision
from edgecvx.sweep.recipe.values import Calibration, Data, Device, Gate, Model, Recipe
from edgecvx.targets import get_target
from edgecvx.targets.base import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One file."""

    model: Model
    target: Target
    precision: Precision
    image_size: int
    calibration: Calibration | None
    """None for a precision that is not calibrated."""

    @property
    def name(self) -> str:
        """``femto-224-int8-birds.tflite``: every axis that tells files apart, the target last."""
        how = [] if self.calibration is None else [self.calibration.name]
        return "-".join([self.model.name, str(self.image_size), self.precision.value, *how]) + f".{self.target.name}"

    def axes(self, **more: str) -> dict[str, str | None]:
        """Axis -> name, as filters see it."""
        return {
            "model": self.model.name,
            "target": self.target.name,
            "precision": self.precision.value,
            "image_size": str(self.image_size),
            "calibration": None if self.calibration is None else self.calibration.name,
            **more,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Something a recipe asks for that is not, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Expansion:
    """Everything a recipe comes to."""

    cells: tuple[Cell, ...]
    left_out: tuple[LeftOut, ...]
    """What no target or device can do; what filters leave out was not asked for."""


def expand(recipe: Recipe, sizes: Mapping[str, tuple[int, ...]]) -> Expansion:
    """Every file that a recipe's filters leave in.

    Args:
        recipe: Of the sweep.
        sizes: Model -> the sizes it is exported in.

    Raises:
        UsageError: Nothing is left.
    """
    cells: list[Cell] = []
    left_out: dict[str, LeftOut] = {}
    for cell in _all(recipe, sizes):
        if not recipe.keeps(cell.axes(), "file"):
            continue
        try:
            cell.target.check_precision(cell.precision)
        except UsageError as error:
            name = f"{cell.target.name} {cell.precision.value}"
            left_out[name] = LeftOut(name=name, reason=str(error))
            continue
        cells.append(cell)
    if not cells:
        why = f" ({next(iter(left_out.values())).reason})" if left_out else ""
        raise UsageError(f"sweep {recipe.name}: the filters leave no file to export{why}")
    return Expansion(cells=tuple(cells), left_out=tuple(left_out.values()))


def _all(recipe: Recipe, sizes: Mapping[str, tuple[int, ...]]) -> Iterator[Cell]:
    precisions = [Precision(name) for name in recipe.precisions]
    for model in recipe.models:
        for size, precision in itertools.product(sizes[model.name], precisions):
            for calibration in recipe.calibrations if precision.calibrated else (None,):
                for target in map(get_target, recipe.targets):
                    yield Cell(
                        model=model, target=target, precision=precision, image_size=size, calibration=calibration
                    )


def data_of(recipe: Recipe, cell: Cell) -> tuple[Data, ...]:
    """What a file is validated on."""
    return tuple(data for data in recipe.data if recipe.keeps(cell.axes(data=data.name), "data"))


def devices_of(recipe: Recipe, cell: Cell) -> tuple[Device, ...]:
    """Where the filters let a file be timed."""
    return tuple(device for device in recipe.devices if recipe.keeps(cell.axes(device=device.name), "device"))


def cannot_be_timed(cell: Cell, device: Device) -> str | None:
    """Why a file has no latency on a device, where that is known without asking it."""
    runtime = cell.target.format.runtime
    if device.device.startswith("adb://") and runtime != "tflite":
        return f"a phone behind adb measures .tflite files alone, not those of {runtime}"
    if device.device == "local" and runtime == "coreml" and sys.platform != "darwin":
        return "off a Mac, Core ML files are computed by a reference executor, which has no latency worth a number"
    if device.device == "local" and availability(runtime).version is None:
        return availability(runtime).hint
    return None


def gate_of(recipe: Recipe, cell: Cell, data: Data) -> Gate | None:
    """The accuracy a file has to reach on these pictures: the first gate that fits; None for the usual one."""
    axes = cell.axes(data=data.name)
    fitting = (gate for gate in recipe.gates if gate.kind in ("min_ratio", "max_drop"))
    return next((gate for gate in fitting if gate.where is None or gate.where.matches(axes)), None)


def input_kind(recipe: Recipe) -> InputKind:
    """What all its files take."""
    return InputKind(recipe.input)


def sizes_asked(recipe: Recipe, own: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """Model -> its sizes: those of the recipe, or the checkpoint's own."""
    return {m.name: recipe.image_sizes or (own[m.name],) for m in recipe.models}


def without_places(value: object, *keys: str) -> dict[str, object]:
    """The fields of a recipe's entry but its name and those that say where a file is."""
    fields = dataclasses.asdict(value)  # type: ignore[call-overload]  # any dataclass
    return {k: v for k, v in fields.items() if k not in ("name", *keys)}
