"""How long an engine takes alone, without the ways to the GPU's memory and back: here, and by NVIDIA's own program."""

from __future__ import annotations

import math
import re
import shutil
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np

from edgecvx.board.engines.nvidia import Driver, Stream
from edgecvx.board.engines.tensorrt import load_tensorrt
from edgecvx.runtimes.base import translate_errors
from edgecvx.runtimes.tensorrt_engine import TRTEXEC

WARM_UP, SECONDS = 0.5, 3.0
"""Of running before anything counts, and of what counts; trtexec is told the same."""
_MEDIAN = re.compile(r"GPU Compute Time: .*\bmedian = ([0-9.]+) ms")


@translate_errors("tensorrt")
def engine_milliseconds(engine: Path) -> float:
    """The median from giving the engine its work to its end, as the processor sees both."""
    trt, driver = load_tensorrt(), Driver()
    runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))  # has to live as long as the engine
    loaded = runtime.deserialize_cuda_engine(engine.read_bytes())
    context, stream = loaded.create_execution_context(), Stream(driver)
    try:
        for index in range(loaded.num_io_tensors):
            name = loaded.get_tensor_name(index)
            context.set_tensor_address(name, stream.allocate(_bytes(trt, loaded, name)))
        _run_for(context, stream, WARM_UP)
        return statistics.median(_run_for(context, stream, SECONDS)) * 1e3
    finally:
        stream.close()


def _bytes(trt: Any, engine: Any, name: str) -> int:
    item: int = np.dtype(trt.nptype(engine.get_tensor_dtype(name))).itemsize
    return math.prod(int(size) for size in engine.get_tensor_shape(name)) * item


def _run_for(context: Any, stream: Stream, seconds: float) -> list[float]:
    """Runs one after the other, at least one; the seconds of each."""
    taken: list[float] = []
    until = time.perf_counter() + seconds
    while not taken or time.perf_counter() < until:
        began = time.perf_counter()
        context.execute_async_v3(stream.handle)
        stream.wait()
        taken.append(time.perf_counter() - began)
    return taken


def trtexec_milliseconds(engine: Path) -> float | None:
    """What trtexec says of the same engine; None where there is no trtexec, or it says nothing."""
    program = shutil.which("trtexec") or (str(TRTEXEC) if TRTEXEC.is_file() else None)
    if program is None:
        return None
    words = [
        f"--loadEngine={engine}",
        f"--warmUp={WARM_UP * 1e3:.0f}",
        f"--duration={SECONDS:.0f}",
        "--noDataTransfers",
    ]
    said = subprocess.run([program, *words], capture_output=True, text=True, errors="replace", check=False)
    found = _MEDIAN.search(said.stdout)
    return float(found[1]) if found else None
