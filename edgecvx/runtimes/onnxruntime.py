"""ONNX Runtime.

Options: ``provider`` (default ``CPUExecutionProvider``): the execution provider, by ONNX Runtime's name, e.g.
``TensorrtExecutionProvider`` or ``CUDAExecutionProvider``. It is used or the call fails; nothing falls back to another
one unsaid: with ``fallback=refuse``, the default, a file is refused that it does not take whole, with ``fallback=show``
the session's ``notes`` name the operations that run elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from edgecvx.board.engines.settings import ONNX_CPU as CPU
from edgecvx.board.engines.settings import ONNX_FALLBACKS as FALLBACKS
from edgecvx.board.engines.settings import (
    import_onnxruntime,
    onnx_hold_to,
    onnx_placed,
    onnx_session_options,
)
from edgecvx.errors import RuntimeFailedError, UsageError, missing_package, one_of
from edgecvx.runtimes.base import Array, check_batch, dtype_of
from edgecvx.spec import Layout, TensorSpec

OPTIONS = ("provider", "fallback")
_NAMED = 5


def version() -> str:
    """ONNX Runtime's version.

    Raises:
        RuntimeUnavailableError: It is not installed.
    """
    return str(_load().__version__)


def open_session(
    path: Path, *, threads: int | None = None, options: Mapping[str, str] = MappingProxyType({})
) -> OnnxRuntimeSession:
    """Opens an ``.onnx`` file, for one run at a time with ``threads`` threads inside an operation.

    Raises:
        RuntimeUnavailableError: ONNX Runtime, or the provider asked for, is not here.
        RuntimeFailedError: It refuses the file.
        UsageError: An option is unknown.
    """
    rt = _load()
    if unknown := sorted(set(options) - set(OPTIONS)):
        raise one_of("option of onnxruntime", unknown[0], OPTIONS)
    provider, available = options.get("provider", CPU), rt.get_available_providers()
    if provider not in available:
        raise UsageError(f"this ONNX Runtime has no provider {provider!r}, only {', '.join(available)}")
    fallback = options.get("fallback", "refuse")
    if fallback not in FALLBACKS:
        raise one_of("fallback of onnxruntime", fallback, FALLBACKS)
    if not path.is_file():
        raise RuntimeFailedError(f"there is no file {path.name}")
    settings = onnx_session_options(rt, threads=threads)
    onnx_hold_to(settings, provider, fallback)
    try:
        session = rt.InferenceSession(path, settings, providers=[provider])
    except _failures(rt) as error:
        raise RuntimeFailedError(f"ONNX Runtime refuses {path.name}: {_one_line(error, path)}") from error
    if provider not in session.get_providers():
        raise RuntimeFailedError(f"{provider} could not be started for {path.name}; see its requirements")
    return OnnxRuntimeSession(session, () if provider == CPU or fallback == "refuse" else _elsewhere(session, provider))


class OnnxRuntimeSession:
    """An open ``.onnx`` file."""

    def __init__(self, session: Any, notes: tuple[str, ...] = ()) -> None:
        self._session: Any = session
        self.notes = notes
        """What a user has to know of this session."""
        self.inputs = tuple(map(_spec, session.get_inputs()))
        self.outputs = tuple(map(_spec, session.get_outputs()))

    def run(self, batch: Array) -> dict[str, Array]:
        """Runs one batch; the outputs by name."""
        if self._session is None:
            raise RuntimeFailedError("this session was closed")
        names = [spec.name for spec in self.outputs]
        try:
            arrays = self._session.run(names, {self.inputs[0].name: check_batch(batch, self.inputs[0])})
        except _failures(_load()) as error:
            raise RuntimeFailedError(f"ONNX Runtime failed: {_one_line(error)}") from error
        return {name: np.asarray(array) for name, array in zip(names, arrays, strict=True)}

    def close(self) -> None:
        """Frees the model."""
        self._session = None


def _elsewhere(session: Any, provider: str) -> tuple[str, ...]:
    """Which operations run in another provider than the one asked for, one sentence for each such provider."""
    placed = onnx_placed(session)
    if placed is None:
        raise RuntimeFailedError(
            "this ONNX Runtime cannot say where an operation runs: update it, or leave out fallback=show"
        )
    total = sum(map(len, placed.values()))
    return tuple(
        f"{len(nodes)} of {total} operations run in {name}, not in {provider}: {', '.join(nodes[:_NAMED])}"
        + (", …" if len(nodes) > _NAMED else "")
        for name, nodes in placed.items()
        if name != provider
    )


def _load() -> Any:
    try:
        return import_onnxruntime()
    except ModuleNotFoundError as error:
        raise missing_package("ONNX Runtime", "onnx") from error


def _failures(rt: Any) -> tuple[type[Exception], ...]:
    """Everything ONNX Runtime raises; its exceptions have no common base but ``Exception``."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    native = [e for e in vars(state).values() if isinstance(e, type) and issubclass(e, Exception)]
    return (*native, RuntimeError, ValueError)


def _one_line(error: Exception, path: Path | None = None) -> str:
    """ONNX Runtime's own words, without its error number, and without the path, which the caller names."""
    told = re.sub(r"^\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ", "", str(error))
    if path is not None:
        told = told.removeprefix(f"Load model from {path} failed:").replace(str(path), path.name)
    return " ".join(told.split())[:300]


def _spec(tensor: Any) -> TensorSpec:
    shape = tuple(tensor.shape)
    if not all(isinstance(d, int) for d in shape) or len(shape) not in (2, 4):
        raise RuntimeFailedError(f"tensor {tensor.name!r} has shape {list(shape)}; edgecvx runs files of static shapes")
    layout: Layout = "NCHW" if len(shape) == 4 else "NC"
    return TensorSpec(name=tensor.name, shape=shape, dtype=dtype_of(tensor.type), layout=layout)
