"""Runs TFLite files in whichever interpreter is here: LiteRT's, the older tflite-runtime's, or TensorFlow's.

They are the same interpreter at different ages, so one session serves all three. XNNPACK is on by default in each;
``delegate=none`` leaves it out and runs the plain kernels.

The interpreter maps the file and follows its offsets without checking them, so a damaged file can crash the process.
It is therefore read in Python first (``edgecvx.export.tflite.schema``), which finds every broken offset, index and
length; what native code does with a file that is consistent and still wrong is for a process of its own to survive.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import importlib.util
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from edgecvx.board.engines.settings import TFLITE_DELEGATES as DELEGATES
from edgecvx.board.engines.settings import TFLITE_INTERPRETERS as INTERPRETERS
from edgecvx.board.engines.settings import tflite_interpreter
from edgecvx.errors import (
    ArtifactError,
    RuntimeFailedError,
    RuntimeUnavailableError,
    UsageError,
    missing_package,
    one_of,
)
from edgecvx.export.tflite.schema import read_bytes, read_file
from edgecvx.runtimes.base import Array, check_batch, dtype_of
from edgecvx.spec import TensorSpec

_REFUSALS = (ValueError, RuntimeError, TypeError, MemoryError)
"""What the interpreters raise for a file or a run they refuse."""


def version(interpreter: str | None = None) -> str:
    """The interpreter that would run here, and its version: ``ai-edge-litert 2.3.0``.

    Raises:
        RuntimeUnavailableError: There is none.
    """
    name = _choose(interpreter)
    for distribution in INTERPRETERS[name][1]:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return f"{distribution} {importlib.metadata.version(distribution)}"
    return f"{name} (of unknown version)"


def open_session(
    path: Path, *, threads: int | None = None, options: Mapping[str, str] = MappingProxyType({})
) -> TFLiteSession:
    """Opens a TFLite file.

    Args:
        path: The ``.tflite`` file.
        threads: Threads for one run; None leaves it to the interpreter.
        options: ``interpreter`` (a key of ``INTERPRETERS``) forces one; ``delegate`` is ``xnnpack`` (default) or
            ``none`` for the plain kernels.

    Raises:
        RuntimeFailedError: The file is damaged, or the interpreter refuses it.
        RuntimeUnavailableError: No interpreter is installed, or not the one asked for.
        UsageError: An option is unknown.
    """
    if unknown := sorted(set(options) - {"interpreter", "delegate"}):
        raise one_of("option of the TFLite runtime", unknown[0], ["interpreter", "delegate"])
    delegate = options.get("delegate", "xnnpack")
    if delegate not in DELEGATES:
        raise one_of("delegate", delegate, DELEGATES)
    if threads is not None and threads < 1:
        raise UsageError(f"{threads} threads do not work: it must be at least 1")
    name = _choose(options.get("interpreter"))
    _check(path)
    return TFLiteSession(path, name, threads=threads, plain=delegate == "none")


class TFLiteSession:
    """An open TFLite file."""

    def __init__(self, path: Path, interpreter: str, *, threads: int | None, plain: bool) -> None:
        with _silence():
            module = importlib.import_module(INTERPRETERS[interpreter][0])
        with _silence(), _refusals(f"{path.name}: {interpreter} cannot open this file"):
            self._interpreter: Any = tflite_interpreter(module, str(path), threads=threads, plain=plain)
        self._name = path.name
        self._input_details = self._interpreter.get_input_details()
        self._output_details = self._interpreter.get_output_details()
        self.inputs = tuple(_spec(detail) for detail in self._input_details)
        self.outputs = tuple(_spec(detail) for detail in self._output_details)

    def run(self, batch: Array) -> dict[str, Array]:
        """Runs one batch; the outputs by name."""
        if self._interpreter is None:
            raise RuntimeFailedError(f"{self._name} is closed; open it again to run it")
        batch = check_batch(batch, self.inputs[0])
        with _refusals(f"{self._name}: the run failed"):
            self._interpreter.set_tensor(self._input_details[0]["index"], batch)
            self._interpreter.invoke()
            return {d["name"]: self._interpreter.get_tensor(d["index"]) for d in self._output_details}

    def close(self) -> None:
        """Frees what the interpreter holds."""
        self._interpreter = None


def _choose(wanted: str | None) -> str:
    """The interpreter to use: the one asked for, or the first that is installed."""
    if wanted is not None and wanted not in INTERPRETERS:
        raise one_of("interpreter", wanted, tuple(INTERPRETERS))
    for name in INTERPRETERS if wanted is None else (wanted,):
        if importlib.util.find_spec(name) is not None:
            return name
    if wanted is not None:
        package = INTERPRETERS[wanted][1][-1]
        raise RuntimeUnavailableError(f"{wanted} is not installed here: pip install {package}")
    raise missing_package("a TFLite interpreter (ai-edge-litert)", "tflite")


def _check(path: Path) -> None:
    """Reads the file in Python before native code does; with no schema here, at least its first bytes."""
    try:
        try:
            read_file(path)
        except RuntimeUnavailableError:
            read_bytes(path)
    except ArtifactError as error:
        raise RuntimeFailedError(str(error)) from error


def _spec(detail: Mapping[str, Any]) -> TensorSpec:
    name, shape = str(detail["name"]), tuple(int(d) for d in detail["shape"])
    if len(shape) == 4:
        return TensorSpec(name=name, shape=shape, dtype=dtype_of(detail["dtype"].__name__), layout="NHWC")
    if len(shape) == 2:
        return TensorSpec(name=name, shape=shape, dtype=dtype_of(detail["dtype"].__name__), layout="NC")
    raise RuntimeFailedError(f"tensor {name!r} has shape {list(shape)}; edgecvx runs files of pictures and vectors")


@contextlib.contextmanager
def _refusals(what: str) -> Iterator[None]:
    """Turns the interpreter's exceptions into ours."""
    try:
        yield
    except _REFUSALS as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise RuntimeFailedError(f"{what}: {reason}") from error


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Hides what opening prints: the XNNPACK delegate's banner on descriptor 2, TensorFlow's note on its future."""
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as sink, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        os.dup2(sink.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
