"""A runtime's files opened in this process, each by a function of its own, as tests of a format want it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from edgecvx.runtimes import NO_OPTIONS, open_session
from edgecvx.runtimes.engine import EngineSession

OpenSession = Callable[..., EngineSession]


def _opener(runtime: str) -> OpenSession:
    def opened(path: Path, *, threads: int | None = None, options: Mapping[str, str] = NO_OPTIONS) -> EngineSession:
        session = open_session(runtime, path, threads=threads, options=options, isolated=False)
        assert isinstance(session, EngineSession)
        return session

    return opened


open_onnxruntime = _opener("onnxruntime")
open_openvino = _opener("openvino")
open_tflite = _opener("tflite")
open_coreml = _opener("coreml")
open_tensorrt = _opener("tensorrt")
open_native = _opener("native")
