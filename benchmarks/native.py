"""The native engine next to our files for the runtimes, alternately in one process, and next to its own floor.

    python benchmarks/native.py                              # all four variants, into benchmarks/out/native.md
    python benchmarks/native.py --variants femto --rounds 40

One thread beside two first, of the engine alone. Then every set of kernels that this processor has is timed; the
runtimes take what they find (OpenVINO may use AMX). The floor is the integer products alone, in a program of its own
(``native/floor.c``), beside the network in the same run.
Trained weights are inside for atto and femto; pico and nano are random, which changes no time.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from files import OpenFile, open_file
from numpy.typing import NDArray
from paths import HERE, OUT, written

from edgecvx.board.device.processors import this_processor
from edgecvx.errors import EdgecvxError
from edgecvx.native.build import FLAGS
from edgecvx.native.compilers import find_compiler
from edgecvx.native.platforms import this_platform
from edgecvx.native.sources import ENGINE, amalgamation
from edgecvx.pipeline import export

WEIGHTS = {"atto": "demo", "femto": "demo", "pico": "random", "nano": "random"}
OTHERS = ("onnx", "openvino", "tflite")
WARM = 4
KERNELS = ("avx512vnni", "avxvnni", "avx2", "portable", "dotprod", "neon")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--variants", nargs="+", default=tuple(WEIGHTS), choices=tuple(WEIGHTS))
    parser.add_argument("--threads", type=int, nargs="+", default=(1, 2))
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--pictures", type=int, default=64, help="to calibrate on")
    options = parser.parse_args(arguments)
    rows = [f"# {this_processor().kind}", "", *SCALED_HEAD]
    for variant in options.variants:  # first: the others' threads look for work for a while when they have none
        rows += show(scaled(variant, exported(variant, options.pictures)["native"], options.rounds))
    rows += ["", *HEAD]
    for variant in options.variants:
        files = exported(variant, options.pictures)
        for threads in options.threads:
            rows += show(timed(variant, files, threads, options.rounds))
    rows += ["", *FLOOR_HEAD]
    with tempfile.TemporaryDirectory() as folder:
        program = built_floor(Path(folder))
        for variant in options.variants:
            lines = floor(program, exported(variant, options.pictures)["native"], options.rounds)
            rows += show(f"| {variant} | {line} |" for line in lines)
    with written(OUT / "native.md") as temporary:
        temporary.write_text("\n".join(rows) + "\n")
    return 0


def show(rows: Iterable[str]) -> list[str]:
    lines = list(rows)
    print(*lines, sep="\n", flush=True)
    return lines


def exported(variant: str, pictures: int) -> dict[str, Path]:
    """The files of a variant by target, made once for an engine."""
    folder = OUT / "native" / f"{variant}-{hashlib.sha256(amalgamation().encode()).hexdigest()[:8]}"
    found = {path.suffix: path for path in folder.glob("*-int8.*")}
    suffixes = {"native": ".ecvx", "onnx": ".onnx", "openvino": ".xml", "tflite": ".tflite"}
    if not set(suffixes.values()) <= set(found):
        export(
            variant,
            weights=WEIGHTS[variant],
            target=tuple(suffixes),
            precision="int8",
            out=folder,
            calib_samples=pictures,
        )
        found = {path.suffix: path for path in folder.glob("*-int8.*")}
    return {target: found[suffix] for target, suffix in suffixes.items()}


def scaled(variant: str, file: Path, rounds: int) -> Iterator[str]:
    """One thread and two in turn, of each set of kernels, with nothing else in the process."""
    image = np.random.default_rng(0).standard_normal((1, 3, 224, 224)).astype(np.float32)
    for kernels in KERNELS:
        try:
            runs = [
                call(open_file("native", file, threads=threads, options={"kernels": kernels}), image)
                for threads in (1, 2)
            ]
        except EdgecvxError:  # another processor's
            continue
        one, two = (statistics.median(times) for times in in_turn(runs, rounds))
        yield f"| {variant} | {kernels} | {one:.2f} | {two:.2f} | {one / two:.2f} |"


def in_turn(runs: Sequence[Callable[[], object]], rounds: int) -> list[list[float]]:
    """Milliseconds of each, of each pair of runs the second, whose caches are its own."""
    times: list[list[float]] = [[] for _ in runs]
    gc.disable()
    for number in range(WARM + rounds):
        for run, of_run in zip(runs, times, strict=True):
            run()
            began = time.perf_counter()
            run()
            took = time.perf_counter() - began
            if number >= WARM:
                of_run.append(1e3 * took)
    gc.enable()
    return times


def timed(variant: str, files: dict[str, Path], threads: int, rounds: int) -> list[str]:
    """Medians of all files, run in turn."""
    image = np.random.default_rng(0).standard_normal((1, 3, 224, 224)).astype(np.float32)
    runs: dict[str, Callable[[], object]] = {}
    for kernels in KERNELS:
        try:
            file = open_file("native", files["native"], threads=threads, options={"kernels": kernels})
        except EdgecvxError:  # another processor's
            continue
        runs[f"native, {kernels}"] = call(file, image)
    for target in OTHERS:
        runs[target] = call(open_file(target, files[target], threads=threads), image)
    times = dict(zip(runs, in_turn([*runs.values()], rounds), strict=True))
    medians = {name: statistics.median(values) for name, values in times.items()}
    best = min(medians[target] for target in OTHERS)
    return [
        f"| {variant} | {threads} | {name} | {value:.2f} | {min(times[name]):.2f} | {best / value:.2f} |"
        for name, value in medians.items()
    ]


def call(file: OpenFile, image: NDArray[np.float32]) -> Callable[[], object]:
    x = file.feed(image)
    return lambda: file.session.run(x)


def built_floor(folder: Path) -> Path:
    """The program that measures the floor, by zig, as the engine is built for this platform's least processor."""
    program = folder / "floor"
    command = find_compiler("zig").command(this_platform())
    command += [*FLAGS, "-I", str(ENGINE), str(HERE / "native" / "floor.c"), "-o", str(program), "-lpthread"]
    subprocess.run(command, check=True)
    return program


def floor(program: Path, model: Path, rounds: int) -> list[str]:
    shown = subprocess.run([program, model, str(rounds)], check=True, capture_output=True, text=True)
    return shown.stdout.splitlines()


SCALED_HEAD = (
    "| network | kernels | one thread, ms | two, ms | one / two |",
    "|---|---|---|---|---|",
)
HEAD = (
    "| network | threads | file | median, ms | least, ms | best of the others / this |",
    "|---|---|---|---|---|---|",
)
FLOOR_HEAD = (
    "| network | kernels | network, ms | products alone, ms | network / products | products, of the register peak |",
    "|---|---|---|---|---|---|",
)


if __name__ == "__main__":
    sys.exit(main())
