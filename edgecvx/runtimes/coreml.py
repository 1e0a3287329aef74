"""Core ML: natively on a Mac, elsewhere in the reference executor."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecvx.board.engines.settings import COREML_UNITS as COMPUTE_UNITS
from edgecvx.errors import RuntimeFailedError, UsageError, missing_package, one_of
from edgecvx.runtimes.base import Session, check_batch
from edgecvx.runtimes.mil.executor import KIND, ReferenceSession
from edgecvx.spec import TensorSpec

Array = NDArray[Any]

NATIVE = sys.platform == "darwin"
CHECK_NOTE = "" if NATIVE else KIND
"""What a self-check in this runtime should say of itself."""
ENGINE = "coreml" if NATIVE else "coreml's reference executor"
"""What runs a file here, where nothing is said."""
OPTIONS = ("compute_units", "executor", "fp16")


def version() -> str:
    """The version of coremltools: on a Mac it runs a package, elsewhere its protobuf classes help to read one."""
    try:
        found = importlib.metadata.version("coremltools")
        return found if NATIVE else f"{found} (reference executor)"
    except importlib.metadata.PackageNotFoundError:
        raise missing_package("coremltools", "coreml") from None


def open_session(
    path: Path, *, threads: int | None = None, options: Mapping[str, str] = MappingProxyType({})
) -> Session:
    """Opens an ``.mlpackage``.

    Args:
        path: The package folder.
        threads: Ignored: Core ML schedules itself, and the reference executor is not there to be fast.
        options: ``executor``: ``native`` or ``reference``, by default native on a Mac and the reference executor
            elsewhere. ``fp16``: ``1`` rounds every float to FP16 (reference executor only). ``compute_units``: ``all``,
            ``cpu``, ``cpu-gpu`` or ``cpu-ane`` (native only).

    Raises:
        RuntimeFailedError: The file cannot be opened.
        UsageError: An option is unknown or does not go with the executor.
    """
    for name in options:
        if name not in OPTIONS:
            raise one_of("Core ML option", name, OPTIONS)
    executor = options.get("executor", "native" if NATIVE else "reference")
    fp16 = options.get("fp16", "0")
    if executor not in ("native", "reference"):
        raise one_of("executor", executor, ("native", "reference"))
    if fp16 not in ("0", "1"):
        raise UsageError(f"fp16={fp16!r} does not work: it is 0 or 1")
    if executor == "reference":
        if "compute_units" in options:
            raise UsageError("compute_units only goes with Core ML on a Mac; the reference executor runs on the CPU")
        return ReferenceSession(path, fp16=fp16 == "1")
    if not NATIVE:
        raise UsageError("Core ML runs on a Mac only; use executor=reference here")
    if fp16 == "1":
        raise UsageError("fp16=1 only goes with executor=reference; natively the file and the hardware decide")
    units = options.get("compute_units", "all")
    if units not in COMPUTE_UNITS:
        raise one_of("compute units", units, tuple(COMPUTE_UNITS))
    return NativeSession(path, COMPUTE_UNITS[units])


class NativeSession:
    """A package opened by Core ML itself, on a Mac. What it takes and returns is read as in the reference executor."""

    kind = "Core ML"

    def __init__(self, path: Path, compute_units: str) -> None:
        from edgecvx.export.coreml.importing import import_coremltools, quiet

        described = ReferenceSession(path)
        self.inputs: tuple[TensorSpec, ...] = described.inputs
        self.outputs: tuple[TensorSpec, ...] = described.outputs
        described.close()
        ct = import_coremltools()
        with quiet():
            try:
                self._model: Any = ct.models.MLModel(str(path), compute_units=ct.ComputeUnit[compute_units])
            except (RuntimeError, ValueError, OSError) as error:
                raise RuntimeFailedError(f"{path.name}: Core ML refuses it: {' '.join(str(error).split())}") from error
        self._name = path.name

    def run(self, batch: Array) -> dict[str, Array]:
        """Predicts one batch; the array outputs by name."""
        (spec,) = self.inputs
        x: Any = check_batch(batch, spec)
        if spec.dtype == "uint8":
            from PIL import Image

            x = Image.fromarray(x[0])
        try:
            result = self._model.predict({spec.name: x})
        except (RuntimeError, ValueError) as error:
            raise RuntimeFailedError(f"{self._name}: Core ML failed: {' '.join(str(error).split())}") from error
        return {o.name: np.asarray(result[o.name], o.dtype).reshape(o.shape) for o in self.outputs}

    def close(self) -> None:
        """Lets Core ML unload the model."""
        self._model = None
