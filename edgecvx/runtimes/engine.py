"""A file open in this process: ``edgecvx.board.engines`` opens and runs it, as on a device that is measured.

What is added here is the same for every runtime: tensors as ``TensorSpec``, batches that are checked, and refusals as
edgecvx's errors. ``_PARTICULAR`` holds what one runtime alone needs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from edgecvx.board import engines
from edgecvx.board.engines import base
from edgecvx.errors import EdgecvxError, RuntimeFailedError
from edgecvx.runtimes import coreml, files
from edgecvx.runtimes.base import Array, check_batch, check_runtime, translate_errors
from edgecvx.spec import TensorSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class _Particular:
    """What a runtime needs beside its engine."""

    options: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Its options that a device that is measured has not."""
    load: Callable[[ModuleType, Mapping[str, str]], Any] = lambda engine, options: engine.Runtime(options)
    prepare: Callable[[Any, Path, Mapping[str, str]], Path] = files.existing
    """Looks at the file before native code does; the file to open."""
    quiet: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext
    """Holds back what opening prints."""


def _find_engine(loaded: Any, path: Path, options: Mapping[str, str]) -> Path:
    from edgecvx.runtimes.tensorrt_engine import find_engine

    return find_engine(loaded, path, options)


def _with_library(loaded: Any, path: Path, options: Mapping[str, str]) -> Path:
    from edgecvx.runtimes.native import with_library

    return with_library(loaded, path, options)


_PARTICULAR: Mapping[str, _Particular] = {
    "openvino": _Particular(prepare=files.check_ir),
    "tflite": _Particular(prepare=files.check_tflite, quiet=files.silence),
    "coreml": _Particular(
        options=coreml.OPTIONS, load=coreml.load, prepare=lambda loaded, path, options: path, quiet=coreml.quiet
    ),
    # The folder of the engines, if not the user's cache, and whether one that is not there is built now.
    "tensorrt": _Particular(options={"engines": (), "build": ("no", "yes")}, prepare=_find_engine),
    "native": _Particular(prepare=_with_library),
}


def open_engine(runtime: str, path: Path, *, threads: int | None, options: Mapping[str, str]) -> EngineSession:
    """Opens a file in this process; see ``edgecvx.runtimes.open_session``."""
    own, engine = _PARTICULAR.get(runtime, _Particular()), engines.engine(runtime)
    with translate_errors(runtime):
        engines.check_options(runtime, options, {**engine.OPTIONS, **own.options})
        with own.quiet():
            loaded = own.load(engine, options)
            place = own.prepare(loaded, path, options)
            name = path.name if place == path else f"the engine {place.name}"
            return EngineSession(loaded.open(place, threads, name), runtime, path.name)


def version(runtime: str) -> str:
    """What is installed of a runtime, as it names itself.

    Raises:
        RuntimeUnavailableError: Nothing is.
        UsageError: There is no such runtime.
    """
    check_runtime(runtime)
    with translate_errors(runtime):
        found = str(engines.engine(runtime).version())
    return f"{found} (reference executor)" if engine_of(runtime) != runtime else found


def engine_of(runtime: str) -> str:
    """What really runs a runtime's files on this machine."""
    return coreml.ENGINE if runtime == "coreml" else runtime


def check_note(runtime: str) -> str:
    """What a self-check in this runtime should say of itself."""
    return coreml.CHECK_NOTE if runtime == "coreml" else ""


class EngineSession:
    """An open file."""

    def __init__(self, opened: Any, runtime: str, name: str) -> None:
        self._opened, self._runtime, self._name = opened, runtime, name
        self._title = engines.engine(runtime).TITLE
        self._closed = False
        self.notes: tuple[str, ...] = opened.notes
        """What a user has to know of this session."""
        self.arithmetic: str | None = opened.arithmetic
        """What it computes in, where the runtime tells."""
        self.memory: Mapping[str, int] | None = opened.memory
        """Bytes it holds, by what they are for, where the runtime tells."""
        try:
            self.inputs = tuple(map(_spec, opened.inputs))
            self.outputs = tuple(map(_spec, opened.outputs))
        except Exception:
            opened.close()
            raise

    @property
    def backend(self) -> str | None:
        """Who really computes."""
        return None if self._closed else self._opened.backend

    def run(self, batch: Array) -> dict[str, Array]:
        """Runs one batch; the outputs by name."""
        if self._closed:
            raise RuntimeFailedError(f"{self._name} is closed; open it again to run it")
        batch = check_batch(batch, self.inputs[0])
        with translate_errors(self._runtime), base.refusals(f"{self._title} failed", passing=EdgecvxError):
            arrays = self._opened.run(batch)
        # Core ML may give another type and number of axes than the file declares.
        pairs = zip(self.outputs, arrays, strict=True)
        return {spec.name: np.asarray(array, spec.dtype).reshape(spec.shape) for spec, array in pairs}

    def close(self) -> None:
        """Frees what the runtime holds."""
        if not self._closed:
            self._closed = True
            self._opened.close()


def _spec(tensor: base.Tensor) -> TensorSpec:
    return TensorSpec(name=tensor.name, shape=tensor.shape, dtype=tensor.dtype, layout=tensor.layout)  # type: ignore[arg-type]  # an engine gives no others
