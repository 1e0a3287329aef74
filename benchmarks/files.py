"""A file under test: open in its runtime, fed with the picture all files are fed with, its logits comparable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecvx.pipeline import export
from edgecvx.runtimes import open_session
from edgecvx.runtimes.base import Session
from edgecvx.targets import get_target

NO_OPTIONS: Mapping[str, str] = MappingProxyType({})
Grid = tuple[float, int]
"""Scale and zero point; a scale of 0 says that there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenFile:
    """An open file, and how its numbers are meant."""

    session: Session
    input_grid: Grid
    output_grid: Grid

    def feed(self, image: NDArray[np.float32]) -> NDArray[Any]:
        """The normalized NCHW picture as this file takes it; the input's shape tells the layout."""
        spec = self.session.inputs[0]
        x = image if spec.shape[1] == 3 else image.transpose(0, 2, 3, 1)
        if spec.dtype == "int8":
            x = quantized(x, self.input_grid)
        return np.ascontiguousarray(x)

    def logits(self, x: NDArray[Any]) -> NDArray[np.float32]:
        """Runs the file once."""
        (values,) = self.session.run(x).values()
        return self.values(values)

    def values(self, outputs: NDArray[Any]) -> NDArray[np.float32]:
        """What the file's outputs mean."""
        if outputs.dtype == np.int8:
            scale, zero_point = self.output_grid
            return np.asarray((outputs.astype(np.float32) - zero_point) * np.float32(scale))
        return np.asarray(outputs, np.float32)


def open_file(target: str, path: Path, *, threads: int, options: Mapping[str, str] = NO_OPTIONS) -> OpenFile:
    """Opens a file in its target's runtime, in this process."""
    session = open_session(get_target(target).format.runtime, path, threads=threads, options=options, isolated=False)
    grids = _tflite_grids(path) if path.suffix == ".tflite" else ((0.0, 0), (0.0, 0))
    return OpenFile(session=session, input_grid=grids[0], output_grid=grids[1])


def precisions(target: str) -> list[str]:
    """What a target has files for."""
    return [precision.value for precision in get_target(target).precisions]


def our_files(network: Path, targets: list[str], precision: str, out: Path) -> dict[str, Path]:
    """Our file for each target, written anew; calibrated, where the precision needs it, once for all of them."""
    result = export(network, target=targets, precision=precision, out=out)
    return {artifact.target: artifact.path for artifact in result.artifacts}


def weight(path: Path) -> int:
    """Bytes, with those of an OpenVINO model's second file."""
    weights = path.with_suffix(".bin")
    return path.stat().st_size + (weights.stat().st_size if path.suffix == ".xml" else 0)


def quantized(x: NDArray[Any], grid: Grid) -> NDArray[np.int8]:
    scale, zero_point = grid
    return np.asarray(np.clip(np.round(x / np.float32(scale)) + zero_point, -128, 127), np.int8)


def _tflite_grids(path: Path) -> tuple[Grid, Grid]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path))
    details = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    first, last = (detail["quantization"] for detail in details)
    return (float(first[0]), int(first[1])), (float(last[0]), int(last[1]))
