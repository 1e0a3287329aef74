"""What a session is set to, per runtime: said once, for the files that are validated and for the times that are told.

``edgecvx.runtimes`` opens its sessions with these too, so a number in a benchmark belongs to the very session whose
accuracy was measured.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any

TFLITE_INTERPRETERS = {
    "ai_edge_litert": ("ai_edge_litert.interpreter", ("ai-edge-litert",)),
    "tflite_runtime": ("tflite_runtime.interpreter", ("tflite-runtime",)),
    "tensorflow": ("tensorflow.lite.python.interpreter", ("tensorflow", "tensorflow-cpu")),
}
"""Package -> the module of its interpreter, and the distributions it comes in; the first that is installed serves."""

TFLITE_DELEGATES = ("xnnpack", "none")
OPENVINO_PRECISIONS = ("f32", "bf16", "f16")
ONNX_CPU = "CPUExecutionProvider"
ONNX_FALLBACKS = ("refuse", "show")
COREML_UNITS = {"all": "ALL", "cpu": "CPU_ONLY", "cpu-gpu": "CPU_AND_GPU", "cpu-ane": "CPU_AND_NE"}

OPTIONS: Mapping[str, tuple[str, ...]] = {
    "tflite": ("interpreter", "delegate"),
    "onnxruntime": ("provider", "fallback"),
    "openvino": ("device", "precision"),
    "coreml": ("compute_units",),
    "tensorrt": (),
}
"""Runtime -> the options an order may give it."""


def import_onnxruntime() -> Any:
    """ONNX Runtime, told before it is loaded that it reports to nobody; from 1.31 on it would, to Microsoft."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    return importlib.import_module("onnxruntime")


def import_openvino() -> Any:
    """OpenVINO; what it loads for its converter would report to Google Analytics."""
    with without_openvino_telemetry():
        return importlib.import_module("openvino")


@contextlib.contextmanager
def without_openvino_telemetry() -> Iterator[None]:
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


def tflite_interpreter(module: Any, path: str, *, threads: int | None, plain: bool) -> Any:
    """TFLite's interpreter ready to run; XNNPACK takes what it can unless ``plain`` kernels are wanted."""
    kinds = module.OpResolverType
    kind = kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES if plain else kinds.AUTO
    interpreter = module.Interpreter(model_path=path, num_threads=threads, experimental_op_resolver_type=kind)
    interpreter.allocate_tensors()
    return interpreter


def onnx_session_options(rt: Any, *, threads: int | None) -> Any:
    """ONNX Runtime's session options: one run at a time, every optimization, ``threads`` inside an operation."""
    settings = rt.SessionOptions()
    settings.execution_mode = rt.ExecutionMode.ORT_SEQUENTIAL
    settings.graph_optimization_level = rt.GraphOptimizationLevel.ORT_ENABLE_ALL
    settings.log_severity_level = _ONNX_ERRORS
    settings.inter_op_num_threads = 1
    if threads is not None:
        settings.intra_op_num_threads = threads
    return settings


def onnx_hold_to(settings: Any, provider: str, fallback: str) -> None:
    """Has a file refused of which the provider does not take every operation, or, to ``show``, where each one runs.

    Asked of ONNX Runtime itself: its list of a session's providers always ends with the CPU's, and says nothing.
    """
    if provider != ONNX_CPU:
        settings.add_session_config_entry(*(_ONNX_RECORD if fallback == "show" else _ONNX_REFUSE))


def onnx_placed(session: Any) -> dict[str, list[str]] | None:
    """The operations by the provider that runs them; None where this ONNX Runtime cannot tell."""
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return None
    placed: dict[str, list[str]] = {}
    for part in session.get_provider_graph_assignment_info():
        placed.setdefault(part.ep_name, []).extend(f"{node.op_type} {node.name}" for node in part.get_nodes())
    return placed


def openvino_properties(*, threads: int | None, precision: str) -> dict[str, str]:
    """OpenVINO's properties: one stream for one run at a time, and the precision set rather than left to the device."""
    properties = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1", "INFERENCE_PRECISION_HINT": precision}
    if threads is not None:
        properties["INFERENCE_NUM_THREADS"] = str(threads)
    return properties


_ONNX_REFUSE = ("session.disable_cpu_ep_fallback", "1")
_ONNX_RECORD = ("session.record_ep_graph_assignment_info", "1")

_ONNX_ERRORS = 3
"""ONNX Runtime's log level for errors; its warnings are about its own optimizer."""
