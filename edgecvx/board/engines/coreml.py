"""Core ML, on a Mac.

Options: ``compute_units``: ``all`` (default), ``cpu``, ``cpu-gpu`` or ``cpu-ane``. Core ML schedules itself: it takes
no number of threads.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from edgecvx.board.engines.base import THE_FILE, Missing, Refused, Session, Tensor, refusals, tensor

TITLE = "Core ML"
PACKAGE = "coremltools"
EXTRA = "coreml"
UNITS = {"all": "ALL", "cpu": "CPU_ONLY", "cpu-gpu": "CPU_AND_GPU", "cpu-ane": "CPU_AND_NE"}
OPTIONS: Mapping[str, Sequence[str]] = {"compute_units": tuple(UNITS)}
_FLOAT16, _FLOAT32 = 65552, 65568
"""``ArrayFeatureType.ArrayDataType`` in Core ML's format."""


def version(options: Mapping[str, str] = MappingProxyType({})) -> str:
    """The version of coremltools."""
    try:
        return importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        raise Missing(PACKAGE) from None


class Runtime:
    """coremltools, loaded."""

    def __init__(self, options: Mapping[str, str]) -> None:
        if platform.system() != "Darwin":
            raise Refused("Core ML runs on a Mac only")
        self.version = version()
        self._ct: Any = importlib.import_module("coremltools")
        self._units = options.get("compute_units", "all")

    def open(self, path: Path, threads: int | None, name: str = THE_FILE) -> CoreMLSession:
        """Opens an ``.mlpackage``."""
        with refusals(f"Core ML refuses {name}", path):
            model = self._ct.models.MLModel(str(path), compute_units=self._ct.ComputeUnit[UNITS[self._units]])
            return CoreMLSession(model, self._units)


class CoreMLSession(Session):
    """A package opened by Core ML itself."""

    def __init__(self, model: Any, units: str) -> None:
        self._spec, self._model = model.get_spec(), model
        described = self._spec.description
        super().__init__(
            described.input, [o for o in described.output if o.type.WhichOneof("Type") == "multiArrayType"]
        )
        self.backend = f"compute units {units}"
        self._input, self._names = self._read[0].name, [output.name for output in self._written]
        self._is_image = self._read[0].type.WhichOneof("Type") == "imageType"

    def run(self, batch: Any) -> Sequence[Any]:
        """One run."""
        if self._is_image:
            from PIL import Image

            batch = Image.fromarray(batch[0])
        answers = self._model.predict({self._input: batch})
        return [answers[name] for name in self._names]

    def _describe(self, value: Any) -> Tensor:
        if value.type.WhichOneof("Type") == "imageType":
            image = value.type.imageType
            return tensor(value.name, (1, image.height, image.width, 3), "uint8", channels_last=True)
        array = value.type.multiArrayType
        types = {_FLOAT16: "float16", _FLOAT32: "float32"}
        shape = [int(size) for size in array.shape] or self._declared(value.name)
        return tensor(value.name, shape, types.get(array.dataType, str(array.dataType)))

    def _declared(self, name: str) -> list[int]:
        """The shape of an output that Core ML left out of the description; the program always has it."""
        function = self._spec.mlProgram.functions["main"]
        operations = function.block_specializations[function.opset].operations
        (kind,) = [output.type.tensorType for op in operations for output in op.outputs if output.name == name]
        return [int(dimension.constant.size) for dimension in kind.dimensions]
