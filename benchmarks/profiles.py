"""Where the time of a file goes, told by its runtime: milliseconds per kind of work, and which of it are int8 products.

ONNX Runtime and OpenVINO measure their own nodes. XNNPACK runs a TFLite file as one node, so there ``perf`` looks at
which kernel the processor is in; the wheel keeps the names of its kernels.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from files import open_file
from numpy.typing import NDArray

Picture = NDArray[np.float32]
PERF_START_SECONDS = 1.0
"""Until ``perf`` has attached itself; it does not tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One kind of work."""

    kind: str
    """In the runtime's own words."""
    share: float
    """Of the time the runtime accounts for."""
    product: bool
    """Whether it is a dense product of int8 numbers: what the floor consists of."""


def onnx(path: Path, image: Picture, threads: int, runs: int) -> list[Share]:
    """By ONNX Runtime's profiler; a depthwise convolution is told from others by its weights' shape."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.inter_op_num_threads = threads, 1
    settings.log_severity_level = 3
    settings.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        settings.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
        for _ in range(runs):
            session.run(None, {session.get_inputs()[0].name: image})
        events = json.loads(Path(session.end_profiling()).read_text())
    spent: Counter[str] = Counter()
    products = set()
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            kind, product = _onnx_kind(event["args"])
            spent[kind] += event["dur"]
            products |= {kind} if product else set()
    return _shares(spent, lambda kind: kind in products)


def _onnx_kind(facts: Mapping[str, Any]) -> tuple[str, bool]:
    op = str(facts["op_name"])
    shapes = [tuple(shape) for entry in facts.get("input_type_shape", ()) for shape in entry.values()]
    types = [name for entry in facts.get("input_type_shape", ()) for name in entry]
    kernels = [shape for shape in shapes[1:] if len(shape) == 4]
    if "Conv" in op and kernels and max(kernels[0]) == kernels[0][0] and 1 in kernels[0][1:] and kernels[0][-2] > 1:
        return f"{op}, depthwise", False
    computes = any(word in op for word in ("Conv", "MatMul", "Gemm"))
    # DynamicQuantizeMatMul takes floats and quantizes them itself: its weights tell.
    return op, computes and any(name in ("int8", "uint8") for name in types[1:])


def openvino(path: Path, image: Picture, threads: int, runs: int) -> list[Share]:
    """By ``PERF_COUNT``; the name of the kernel ends with the type it computes in."""
    import openvino as ov

    settings = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1", "INFERENCE_PRECISION_HINT": "f32"}
    settings |= {"INFERENCE_NUM_THREADS": str(threads), "PERF_COUNT": "YES"}
    core = ov.Core()
    request = core.compile_model(core.read_model(path), "CPU", settings).create_infer_request()
    spent: Counter[str] = Counter()
    for _ in range(runs):
        request.infer([image])
        for entry in request.profiling_info:
            if entry.status == entry.Status.EXECUTED:
                spent[f"{entry.node_type} {entry.exec_type}"] += entry.real_time.total_seconds()
    return _shares(spent, _openvino_product)


def _openvino_product(kind: str) -> bool:
    dense = kind.startswith(("Convolution", "FullyConnected", "MatMul"))
    return dense and kind.lower().endswith(("i8", "u8")) and "_dw_" not in kind


def tflite(path: Path, image: Picture, threads: int, runs: int) -> list[Share]:
    """By ``perf``, attached while the file runs; the kernels of a family, for any tile and processor, are one kind."""
    if shutil.which("perf") is None:
        raise SystemExit("perf is missing: it is in the package linux-perf (Debian) or linux-tools (Ubuntu)")
    file = open_file("tflite", path, threads=threads)
    x = file.feed(image)
    with tempfile.TemporaryDirectory() as folder:
        recorded = str(Path(folder) / "perf.data")
        with _perf(recorded):
            for _ in range(runs):
                file.session.run(x)
        told = _output(["perf", "report", "-i", recorded, "--stdio", "-q", "-n", "-t", "|", "--sort", "symbol"])
    spent: Counter[str] = Counter()
    for line in told.splitlines():
        columns = [column.strip() for column in line.split("|")]
        if len(columns) >= 3 and columns[1].isdigit():
            spent[_xnnpack_kind(columns[2])] += int(columns[1])
    if not spent:
        raise SystemExit("perf recorded nothing: may this user? See /proc/sys/kernel/perf_event_paranoid")
    return _shares(spent, lambda kind: re.match(r"q[a-z]*8_.*gemm", kind) is not None)


class _perf:  # noqa: N801 - reads as the statement it is
    """Samples this process at 4 kHz of its own time, as long as the block runs."""

    def __init__(self, recorded: str) -> None:
        frequency = ["-e", "task-clock", "-F", "4000"]
        self._command = ["perf", "record", "-q", "-o", recorded, *frequency, "-p", str(os.getpid())]

    def __enter__(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        time.sleep(PERF_START_SECONDS)

    def __exit__(self, *raised: object) -> None:
        self._process.send_signal(signal.SIGINT)
        told = self._process.communicate()[1]
        if self._process.returncode not in (0, -signal.SIGINT):
            raise SystemExit(f"perf record failed: {told.strip()}")


def _output(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command[:2])} failed: {done.stderr.strip()}")
    return done.stdout


def _xnnpack_kind(symbol: str) -> str:
    """``[.] xnn_f32_vgelu_ukernel__avx512f_u32`` is ``f32_vgelu``; the plain kernels are called by their function."""
    name = symbol.removeprefix("[.] ")
    if found := re.match(r"xnn_(\w+?)(_minmax)?_ukernel", name):
        return found[1]
    if name.startswith("tflite::") and not name.startswith("tflite::xnnpack"):
        return re.sub(r"<.*>", "", name).removeprefix("tflite::")
    return "everything else"


PROFILES: Mapping[str, Callable[[Path, Picture, int, int], list[Share]]] = {
    "onnx": onnx,
    "openvino": openvino,
    "tflite": tflite,
}


def _shares(spent: Mapping[str, float], product: Callable[[str], bool]) -> list[Share]:
    """Sorted by time."""
    total = sum(spent.values())
    ordered = sorted(spent.items(), key=lambda item: -item[1])
    return [Share(kind=kind, share=value / total, product=product(kind)) for kind, value in ordered]
