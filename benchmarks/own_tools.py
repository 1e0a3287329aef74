"""Holds `edgecvx bench` against each runtime's own tool, or a plain loop where there is none, on the same file.

    python benchmarks/own_tools.py MODEL.xml MODEL.onnx MODEL.tflite --pairs 15

They are measured alternately, ours and theirs, each in processes of its own with one thread; the figure is the ratio of
the two medians, pair by pair, with its 95% interval over the pairs. A ratio of 1 says that what `edgecvx bench` calls
p50 is what the runtime itself would call so: no cost of the runner is in it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import edgecvx
from edgecvx.manifest import read_manifest
from edgecvx.results import statistics
from edgecvx.runtimes import availability

LOOP = """
import json, sys, time
import numpy as np
path, runs, shape, dtype = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3]), sys.argv[4]
batch = np.random.default_rng(0).standard_normal(shape).astype(dtype)
{opened}
for _ in range(30):
    run()
times = []
for _ in range(runs):
    started = time.perf_counter()
    run()
    times.append(time.perf_counter() - started)
print(1e3 * float(np.median(times)))
"""

ONNX = """
import onnxruntime as rt
options = rt.SessionOptions()
options.intra_op_num_threads = 1
session = rt.InferenceSession(path, options, providers=["CPUExecutionProvider"])
name = session.get_inputs()[0].name
def run():
    session.run(None, {name: batch})
"""

TFLITE = """
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter(model_path=path, num_threads=1)
interpreter.allocate_tensors()
place, answer = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
def run():
    interpreter.set_tensor(place, batch)
    interpreter.invoke()
    interpreter.get_tensor(answer)
"""


def ours(path: Path, runs: int) -> float:
    """The median that `edgecvx bench` gives, in milliseconds."""
    result = edgecvx.benchmark(path, threads=(1,), runs=runs, rounds=1, end_to_end=False, memory=False)
    summary = result.devices[0].measured[0].model_summary
    if summary is None:
        raise SystemExit(f"{path.name} was not measured: {result.devices[0].measured[0].error}")
    return summary.percentiles[0].ms


def loop(path: Path, runs: int, opened: str) -> float:
    """The median of a plain loop, as anybody would write it."""
    tensor = read_manifest(path).input
    code = LOOP.replace("{opened}", opened)
    command = [sys.executable, "-c", code, str(path), str(runs), json.dumps(tensor.shape), tensor.dtype]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def benchmark_app(path: Path, runs: int) -> float:
    """The median that OpenVINO's own tool gives."""
    tool = Path(sys.executable).with_name("benchmark_app")
    command = [str(tool), "-m", str(path), "-d", "CPU", "-api", "sync", "-hint", "none", "-nstreams", "1"]
    command += ["-nthreads", "1", "-infer_precision", "f32", "-niter", str(runs)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = re.search(r"Median:\s+([\d.]+) ms", told)
    if found is None:
        raise SystemExit(f"benchmark_app gave no median:\n{told}")
    return float(found[1])


TOOLS: dict[str, tuple[str, Callable[[Path, int], float]]] = {
    "openvino": ("benchmark_app", benchmark_app),
    "onnxruntime": ("plain loop", lambda path, runs: loop(path, runs, ONNX)),
    "tflite": ("plain loop", lambda path, runs: loop(path, runs, TFLITE)),
}


def compare(path: Path, pairs: int, runs: int) -> str:
    """One row of the table."""
    runtime = read_manifest(path).runtime
    name, tool = TOOLS[runtime]
    mine: dict[int, float] = {}
    theirs: dict[int, float] = {}
    for pair in range(pairs):
        for measured, of in ((mine, ours), (theirs, tool)) if pair % 2 == 0 else ((theirs, tool), (mine, ours)):
            measured[pair] = of(path, runs)
        print(f"{path.name} {pair + 1}/{pairs}: {mine[pair]:.3f} against {theirs[pair]:.3f} ms", file=sys.stderr)
    ratio = statistics.ratio(mine, theirs, names=("ours", "theirs"))
    if ratio is None or ratio.interval is None:
        raise SystemExit(f"{pairs} pairs are too few: at least {statistics.LEAST_ROUNDS}")
    low, high = sorted(mine.values())[pairs // 2], sorted(theirs.values())[pairs // 2]
    span = f"{ratio.interval.low:.3f} to {ratio.interval.high:.3f}"
    version = availability(runtime).version
    return f"| {path.name} | {version} | {name} | {low:.3f} | {high:.3f} | {ratio.value:.3f} | {span} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artifacts", nargs="+", type=Path)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--runs", type=int, default=200)
    arguments = parser.parse_args()
    before = os.getloadavg()[0]
    rows = [compare(path, arguments.pairs, arguments.runs) for path in arguments.artifacts]
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, one thread, {arguments.pairs} pairs of {arguments.runs} runs,"
    )
    print(f"load average {before:.1f} before and {os.getloadavg()[0]:.1f} after.\n")
    print("| file | runtime | its tool | `edgecvx bench`, p50 ms | its tool, p50 ms | ratio | 95% interval |")
    print("|---|---|---|--:|--:|--:|---|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
