"""OpenVINO.

Options: ``device`` (default ``CPU``), and ``precision``: what the device computes in, ``f32`` (default), ``bf16`` or
``f16``. Left to itself OpenVINO takes bfloat16 on a CPU that has it, and an FP32 file would not be computed in FP32;
so the precision is always set, and read back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from edgecvx.board.engines.settings import OPENVINO_PRECISIONS as PRECISIONS
from edgecvx.board.engines.settings import import_openvino, openvino_properties
from edgecvx.errors import RuntimeFailedError, UsageError, missing_package, one_of
from edgecvx.runtimes.base import Array, check_batch, dtype_of
from edgecvx.spec import Layout, TensorSpec

OPTIONS = ("device", "precision")


def version() -> str:
    """OpenVINO's version, without the build's commit.

    Raises:
        RuntimeUnavailableError: It is not installed.
    """
    return str(_load().__version__).split("-")[0]


def open_session(
    path: Path, *, threads: int | None = None, options: Mapping[str, str] = MappingProxyType({})
) -> OpenVINOSession:
    """Opens an ``.xml`` with the ``.bin`` beside it, for one run at a time.

    Raises:
        RuntimeUnavailableError: OpenVINO is not here.
        RuntimeFailedError: It refuses the file, or the device does not compute in the precision asked for.
        UsageError: An option is unknown.
    """
    ov = _load()
    if unknown := sorted(set(options) - set(OPTIONS)):
        raise one_of("option of openvino", unknown[0], OPTIONS)
    precision, device = options.get("precision", "f32"), options.get("device", "CPU")
    if precision not in PRECISIONS:
        raise one_of("precision", precision, PRECISIONS)
    core = ov.Core()
    if device.split(".")[0] not in {name.split(".")[0] for name in core.available_devices}:
        raise UsageError(f"OpenVINO has no device {device!r} here, only {', '.join(core.available_devices)}")
    _check_is_ir(path)
    settings = openvino_properties(threads=threads, precision=precision)
    try:
        compiled = core.compile_model(core.read_model(path), device, settings)
        used = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        session = OpenVINOSession(compiled, str(used))
    except RuntimeError as error:
        raise RuntimeFailedError(f"OpenVINO refuses {path.name}: {_one_line(error, path)}") from error
    if used != precision:
        raise RuntimeFailedError(f"device {device} computes {path.name} in {used}, not in {precision} as asked")
    return session


class OpenVINOSession:
    """An open IR."""

    def __init__(self, compiled: Any, precision: str) -> None:
        self._compiled: Any = compiled
        self._request: Any = compiled.create_infer_request()
        self.precision = precision
        """What the device computes in, as it says itself."""
        self.inputs = tuple(map(_spec, compiled.inputs))
        self.outputs = tuple(map(_spec, compiled.outputs))

    def run(self, batch: Array) -> dict[str, Array]:
        """Runs one batch; the outputs by name."""
        if self._request is None:
            raise RuntimeFailedError("this session was closed")
        try:
            results = self._request.infer([check_batch(batch, self.inputs[0])], share_inputs=True)
        except RuntimeError as error:
            raise RuntimeFailedError(f"OpenVINO failed: {_one_line(error)}") from error
        # A copy: the request writes its next results into the same memory.
        return {spec.name: np.array(results[i]) for i, spec in enumerate(self.outputs)}

    def close(self) -> None:
        """Frees the model."""
        self._compiled = self._request = None


def _load() -> Any:
    try:
        return import_openvino()
    except ModuleNotFoundError as error:
        raise missing_package("OpenVINO", "openvino") from error


def _check_is_ir(path: Path) -> None:
    """Looks before OpenVINO does, which would try every format it knows on the file, and say so at length."""
    if not path.is_file():
        raise RuntimeFailedError(f"there is no file {path.name}")
    with path.open("rb") as file:
        if b"<net" not in file.read(4096):
            raise RuntimeFailedError(f"{path.name} is not an OpenVINO IR: there is no <net> in it")
    if not path.with_suffix(".bin").is_file():
        raise RuntimeFailedError(f"{path.name} needs {path.with_suffix('.bin').name} beside it, with its weights")


def _one_line(error: Exception, path: Path = Path()) -> str:
    """OpenVINO's own words, without the places in its source and the folder the file lies in."""
    told = re.sub(r"Exception from \S+:\d+:|Check '.*?' failed at \S+:\d+:", "", str(error))
    return " ".join(told.replace(str(path.parent), "").split())[:300]


def _spec(port: Any) -> TensorSpec:
    if port.get_partial_shape().is_dynamic or len(port.shape) not in (2, 4):
        raise RuntimeFailedError(
            f"tensor {port.any_name!r} has shape {port.get_partial_shape()}; edgecvx runs files of static shapes"
        )
    layout: Layout = "NCHW" if len(port.shape) == 4 else "NC"
    dtype = dtype_of(port.get_element_type().get_type_name())
    return TensorSpec(name=port.any_name, shape=tuple(port.shape), dtype=dtype, layout=layout)
