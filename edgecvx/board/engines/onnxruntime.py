"""ONNX Runtime.

Options: ``provider``: the execution provider, by ONNX Runtime's name, e.g. ``TensorrtExecutionProvider`` or
``CUDAExecutionProvider``. It is used or the file is refused; nothing falls back to another one unsaid: with
``fallback=refuse``, the default, a file is refused that it does not take whole, with ``fallback=show`` the session's
``notes`` name the operations that run elsewhere.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from edgecvx.board.engines.base import THE_FILE, OptionRefused, Refused, Session, Tensor, refusals, require, tensor

TITLE = "ONNX Runtime"
PACKAGE = "onnxruntime"
EXTRA = "onnx"
OPTIONS: Mapping[str, Sequence[str]] = {"provider": (), "fallback": ("refuse", "show")}
CPU = "CPUExecutionProvider"
_REFUSE = ("session.disable_cpu_ep_fallback", "1")
_RECORD = ("session.record_ep_graph_assignment_info", "1")
_ERRORS = 3
"""Its log level for errors; its warnings are about its own optimizer."""
_NAMED = 5
"""Operations that a note names."""


def import_onnxruntime() -> Any:
    """ONNX Runtime, told before it is loaded that it reports to nobody; from 1.31 on it would, to Microsoft."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    return importlib.import_module("onnxruntime")


def version(options: Mapping[str, str] = MappingProxyType({})) -> str:
    """Its version."""
    require("onnxruntime", PACKAGE)
    return str(import_onnxruntime().__version__)


class Runtime:
    """ONNX Runtime, loaded."""

    def __init__(self, options: Mapping[str, str]) -> None:
        self.version = version()
        self._rt: Any = import_onnxruntime()
        self._provider, self._fallback = options.get("provider", CPU), options.get("fallback", "refuse")

    def open(self, path: Path, threads: int | None, name: str = THE_FILE) -> OnnxSession:
        """Opens an ``.onnx`` file, for one run at a time with ``threads`` threads inside an operation."""
        known = self._rt.get_available_providers()
        if self._provider not in known:
            raise OptionRefused(f"this ONNX Runtime has no provider {self._provider!r}, only {', '.join(known)}")
        with refusals(f"ONNX Runtime refuses {name}", path):
            session = self._rt.InferenceSession(str(path), self._settings(threads), providers=[self._provider])
        if self._provider not in session.get_providers():
            raise Refused(f"{self._provider} could not be started for {name}; see its requirements")
        shows = self._fallback == "show" and self._provider != CPU
        return OnnxSession(session, threads, self._provider, _placed(session) if shows else {})

    def _settings(self, threads: int | None) -> Any:
        """One run at a time, every optimization, and nothing on another provider unsaid.

        Asked of ONNX Runtime itself: its list of a session's providers always ends with the CPU's, and says nothing.
        """
        settings = self._rt.SessionOptions()
        settings.execution_mode = self._rt.ExecutionMode.ORT_SEQUENTIAL
        settings.graph_optimization_level = self._rt.GraphOptimizationLevel.ORT_ENABLE_ALL
        settings.log_severity_level = _ERRORS
        settings.inter_op_num_threads = 1
        if threads is not None:
            settings.intra_op_num_threads = threads
        if self._provider != CPU:
            settings.add_session_config_entry(*(_RECORD if self._fallback == "show" else _REFUSE))
        return settings


class OnnxSession(Session):
    """An open ``.onnx`` file."""

    def __init__(self, session: Any, threads: int | None, provider: str, placed: Mapping[str, Sequence[str]]) -> None:
        super().__init__(session.get_inputs(), session.get_outputs())
        self._session, self.threads = session, threads
        self._names, self._input = [output.name for output in self._written], self._read[0].name
        total = sum(map(len, placed.values()))
        # Without ``fallback=show`` it takes the whole file, or has refused it.
        self.backend = provider + (f", {len(placed.get(provider, ()))} of {total} nodes" if total else "")
        self.notes = tuple(
            f"{len(nodes)} of {total} operations run in {other}, not in {provider}: {', '.join(nodes[:_NAMED])}"
            + (", …" if len(nodes) > _NAMED else "")
            for other, nodes in placed.items()
            if other != provider
        )

    def run(self, batch: Any) -> Sequence[Any]:
        """One run."""
        results: Sequence[Any] = self._session.run(self._names, {self._input: batch})
        return results

    def _describe(self, value: Any) -> Tensor:
        return tensor(value.name, value.shape, value.type[len("tensor(") : -1])


def _placed(session: Any) -> dict[str, list[str]]:
    """The operations by the provider that runs them."""
    if not hasattr(session, "get_provider_graph_assignment_info"):
        raise Refused("this ONNX Runtime cannot say where an operation runs: update it, or leave out fallback=show")
    placed: dict[str, list[str]] = {}
    for part in session.get_provider_graph_assignment_info():
        placed.setdefault(part.ep_name, []).extend(f"{node.op_type} {node.name}" for node in part.get_nodes())
    return placed
