"""OpenVINO.

Options: ``device`` (default ``CPU``), and ``precision``: what the device computes in, ``f32`` (default), ``bf16`` or
``f16``. Left to itself OpenVINO takes bfloat16 on a CPU that has it, and an FP32 file would not be computed in FP32;
so the precision is always set, and read back.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from edgecvx.board.engines.base import THE_FILE, OptionRefused, Refused, Session, Tensor, refusals, require, tensor

TITLE = "OpenVINO"
PACKAGE = "openvino"
EXTRA = "openvino"
OPTIONS: Mapping[str, Sequence[str]] = {"device": (), "precision": ("f32", "bf16", "f16")}


def import_openvino() -> Any:
    """OpenVINO; what it loads for its converter would report to Google Analytics."""
    with without_telemetry():
        return importlib.import_module("openvino")


@contextlib.contextmanager
def without_telemetry() -> Iterator[None]:
    """While they are imported, OpenVINO and NNCF look for the package that reports; they can do without."""
    sender = "openvino_telemetry"
    kept = sys.modules.get(sender)
    sys.modules[sender] = None  # type: ignore[assignment]  # importing it fails
    try:
        yield
    finally:
        del sys.modules[sender]
        if kept is not None:
            sys.modules[sender] = kept


def version(options: Mapping[str, str] = MappingProxyType({})) -> str:
    """Its version, without the build's commit."""
    require("openvino", PACKAGE)
    return str(import_openvino().__version__).split("-")[0]


def properties(*, threads: int | None, precision: str) -> dict[str, str]:
    """One stream for one run at a time, and the precision set rather than left to the device."""
    found = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1", "INFERENCE_PRECISION_HINT": precision}
    if threads is not None:
        found["INFERENCE_NUM_THREADS"] = str(threads)
    return found


class Runtime:
    """OpenVINO, loaded."""

    def __init__(self, options: Mapping[str, str]) -> None:
        self.version = version()
        self._core: Any = import_openvino().Core()
        self._device, self._precision = options.get("device", "CPU"), options.get("precision", "f32")

    def open(self, path: Path, threads: int | None, name: str = THE_FILE) -> OpenVINOSession:
        """Opens an ``.xml`` with the ``.bin`` beside it, for one run at a time."""
        wanted = properties(threads=threads, precision=self._precision)
        try:
            with refusals(f"OpenVINO refuses {name}", path):
                model = self._core.read_model(path)
                session = OpenVINOSession(self._core.compile_model(model, self._device, wanted))
        except Refused:
            self._check_device()
            raise
        if session.arithmetic != self._precision:
            found = f"device {self._device} computes {name} in {session.arithmetic}"
            raise Refused(f"{found}, not in {self._precision} as asked")
        return session

    def _check_device(self) -> None:
        """Asked only of what was refused: to list its devices, OpenVINO loads the code of each."""
        known = self._core.available_devices
        if self._device.split(".")[0] not in {name.split(".")[0] for name in known}:
            raise OptionRefused(f"OpenVINO has no device {self._device!r} here, only {', '.join(known)}")


class OpenVINOSession(Session):
    """An open IR."""

    def __init__(self, compiled: Any) -> None:
        super().__init__(compiled.inputs, compiled.outputs)
        self._compiled, self._request, self._count = compiled, compiled.create_infer_request(), len(self._written)
        self.backend = ", ".join(compiled.get_property("EXECUTION_DEVICES"))
        self.arithmetic = str(compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name())
        with contextlib.suppress(RuntimeError):  # a GPU has none
            self.threads = int(compiled.get_property("INFERENCE_NUM_THREADS"))
        # Its own memory, written before each run as an application does: an array that is handed over instead has to
        # be bound anew each time, which takes longer than the copy (2 to 3% of 8 ms).
        self._input = self._request.get_input_tensor().data

    def run(self, batch: Any) -> Sequence[Any]:
        """One run."""
        self._input[...] = batch
        self._request.infer()
        return [self._request.get_output_tensor(i).data.copy() for i in range(self._count)]

    def _describe(self, value: Any) -> Tensor:
        shape = [size.get_length() if size.is_static else str(size) for size in value.get_partial_shape()]
        return tensor(value.any_name, shape, value.get_element_type().get_type_name())
