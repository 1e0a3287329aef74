"""What is said of a race in a browser: its tables, and the facts a reader has to know to judge them."""

from __future__ import annotations

import argparse
import gzip
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from compare import cpu_model
from numpy.typing import NDArray
from rivals import RIVALS, versions
from web_files import PROBES, USUAL, Entrant, Served, version

from edgecvx.proof.metrics import row_cosines
from edgecvx.results import statistics
from edgecvx.results.accuracy import Interval

TITLES = {"edgecvx": "edgecvx", "litert": "LiteRT.js", "onnxruntime": "ONNX Runtime Web"}
CLOCKS = {"wall": "time on the wall", "cpu": "processor time of the page's threads"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Raced:
    """An entrant and what came of it."""

    entrant: Entrant
    loaded: tuple[str, ...]
    """Names of what its runtime asked the server for."""
    logits: NDArray[np.float32]
    reference: NDArray[np.float32]
    """What PyTorch answers in FP32."""
    rounds: Mapping[int, Sequence[float]]
    """Milliseconds of each run."""

    @property
    def medians(self) -> dict[int, float]:
        """Of each round."""
        return {number: float(np.median(times)) for number, times in self.rounds.items()}

    @property
    def cosine(self) -> float:
        """The mean over the pictures, against the reference."""
        return float(row_cosines(self.logits, self.reference).mean())

    @property
    def same(self) -> int:
        """Pictures that get the reference's class."""
        return int((self.logits.argmax(axis=1) == self.reference.argmax(axis=1)).sum())

    @property
    def build(self) -> str:
        """The runtime, and which of its WebAssembly files the browser took."""
        wasm = ", ".join(Path(name).name for name in self.loaded if name.endswith(".wasm"))
        return f"{TITLES[self.entrant.runtime]}, `{wasm}`"


def table(raced: Sequence[Raced], threads: int) -> list[str]:
    """A row per entrant; the first is the engine."""
    title = f"## {threads} thread{'s' * (threads > 1)}"
    return ["", title, "", *COLUMNS, *(row(r, raced[0]) for r in raced)]


def row(r: Raced, engine: Raced) -> str:
    median = statistics.percentile([np.array(times) for times in r.rounds.values()], 0.5)
    ratio = statistics.ratio(r.medians, engine.medians, names=(r.entrant.name, engine.entrant.name))
    times = "" if ratio is None or r is engine else f"**{ratio.value:.2f}**{span(ratio.interval)}"
    file = f"{r.entrant.precision} by {r.entrant.tool}"
    milliseconds = f"{median.ms:.1f}{span(median.interval)}"
    return f"| {r.build} | {file} | {milliseconds} | {times} | {r.same} | {r.cosine:.4f} |"


def span(interval: Interval | None) -> str:
    return "" if interval is None else f" ({interval.low:.2f} to {interval.high:.2f})"


def sizes(raced: Iterable[Raced], files: Served) -> dict[str, tuple[int, int]]:
    """Runtime -> bytes of what it loads besides the model, and what a server that compresses with gzip sends of it."""
    own = ("site/", "engine", "litert/", "onnxruntime/")
    return {r.build: size(files[name] for name in r.loaded if name.startswith(own)) for r in raced}


def size(contents: Iterable[bytes]) -> tuple[int, int]:
    pairs = [(len(content), len(gzip.compress(content, 9))) for content in contents]
    return sum(plain for plain, _ in pairs), sum(packed for _, packed in pairs)


def size_table(found: Mapping[str, tuple[int, int]]) -> list[str]:
    head = ("## What a page loads besides the model", "", "| runtime | MB | with gzip -9, MB |", "|---|--:|--:|")
    return [
        "",
        *head,
        *(f"| {name} | {plain / 1e6:.2f} | {packed / 1e6:.2f} |" for name, (plain, packed) in found.items()),
    ]


def facts(options: argparse.Namespace, browser: str, load_before: float) -> list[str]:
    """The network, the machine, every version, and how busy the machine was."""
    usual = [rival for rival in RIVALS if rival.name in USUAL]
    load = f"load average {load_before:.1f} before, {os.getloadavg()[0]:.1f} after"
    return [
        f"- ConvNeXt V2 {options.variant}, demo weights, 224 px, one picture at a time",
        f"- {cpu_model()}, {os.cpu_count()} cores; {platform.system()} {platform.machine()}",
        f"- headless: {browser}",
        f"- @litertjs/core {version('@litertjs/core')}, onnxruntime-web {version('onnxruntime-web')}",
        *(f"- {rival.name}: {versions(rival)}" for rival in usual),
        f"- {CLOCKS[options.clock]}; {options.rounds} rounds of {options.runs} runs; {load}",
    ]


HEAD = f"""\
# The engine in a browser beside other runtimes

Milliseconds from normalized floats in JavaScript to logits in JavaScript: the median, and how many times longer than
the engine a file takes, round by round; both with 95% intervals. All run in one page, in turn. Answers are to {PROBES}
drawn pictures, against PyTorch in FP32: how many get the same class, and the mean cosine of the logits.
"""
COLUMNS = (
    f"| runtime, and the build it took | file | ms | times the engine's | same class, of {PROBES} | cosine |",
    "|---|---|--:|--:|--:|--:|",
)
FOOT = """
All builds of LiteRT.js use relaxed SIMD but the one called `compat`, which it takes where a browser has none, and which
has no threads. So do the engine's builds called `relaxed`; ONNX Runtime Web and the engine's others use the fixed
operations alone, which every browser has.

```
benchmarks/setup.sh plain web"""
