"""Times other tools' files against ours: the same network, the same runtime, the same process, run by run in turn.

    benchmarks/setup.sh                       # once: the other tools, in their own environments
    python benchmarks/compare.py              # FP32, all four variants, 1 and 2 threads, into benchmarks/out/
    python benchmarks/compare.py --precision int8 --variants femto --threads 1 --clock cpu
    EDGECVX_PROCESSOR=AVX2 LD_PRELOAD=libhide.so python benchmarks/compare.py …    # as a processor without VNNI

Both sides start from one transformers folder. FP32 takes seeded weights. INT8 takes the demo weights where there are
any, since scales come from what a network sees, and every tool is calibrated with the same drawn pictures; our own FP32
file and theirs run in the same race. Ours goes through ``edgecvx.export``, self-check included.

Every file has to answer like PyTorch on drawn pictures: an FP32 file to within an error of
summation, our INT8 file to within ``CLOSE_COSINE``. What others' INT8 files answer is shown, whatever it is.

A figure is a ratio: in each round every file runs in turn, so what disturbs the machine disturbs all of them, and the
table shows the median over rounds with its quartiles. ``--clock cpu`` counts the processor time of this process
instead of time on the wall: for one thread the same on an idle machine, and far steadier on a shared one.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from files import NO_OPTIONS, OpenFile, open_file, our_files, precisions, weight
from networks import (
    VARIANTS,
    Network,
    calibration_pictures,
    images,
    network_for,
    range_error,
    reference_logits,
    validation_pictures,
)
from numpy.typing import NDArray
from paths import OUT
from rivals import rivals_of, versions

from edgecvx.board.device.processors import this_processor
from edgecvx.proof.metrics import row_cosines
from edgecvx.runtimes import availability
from edgecvx.targets import get_target

CLOSE = 1e-3
"""Largest error of an FP32 file's logits, as a part of their range: another order of summation, no other function."""
CLOSE_COSINE = 0.99
"""Smallest mean cosine of our INT8 logits: below it the file computes another function, however fast."""
PROBES = 24
"""Drawn pictures that every file answers, one of each class; ``accuracy.py`` takes many more."""
COLUMNS = (
    *("runtime", "variant", "threads", "other file", "its ms", "our ms", "ratio"),
    *("its answers", "our answers", "its MB", "our MB"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrant:
    """One file in a race."""

    name: str
    path: Path
    precision: str
    ours: bool
    options: Mapping[str, str]
    """For the runtime."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What a file says to the probe pictures, against PyTorch."""

    error: float
    """The largest difference, as a part of the range of PyTorch's logits."""
    cosine: float
    """The mean over the pictures."""
    flips: float
    """The share of pictures whose first class is another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Another file against ours."""

    target: str
    variant: str
    weights: str
    rival: str
    threads: int
    ours_ms: float
    rival_ms: float
    ratio: float
    """How many times faster ours is: the median over rounds."""
    low: float
    """First quartile of the ratio."""
    high: float
    """Third quartile."""
    ours_answers: Answers
    rival_answers: Answers
    ours_bytes: int
    rival_bytes: int


def main(arguments: Sequence[str] | None = None) -> int:
    options = parsed(arguments)
    load_before = os.getloadavg()
    comparisons: list[Comparison] = []
    for variant in options.variants:
        network = network_for(variant, options.precision)
        for target, entrants in line_up(network, options.targets, options.precision).items():
            for threads in options.threads:
                times, logits = raced(target, entrants, threads, options)
                answers = [checked(entrant, found, network) for entrant, found in zip(entrants, logits, strict=True)]
                for other in range(1, len(entrants)):
                    comparison = compared(target, network, threads, entrants, times, answers, other)
                    comparisons.append(comparison)
                    print(row(comparison), flush=True)
    about = facts(options, load_before)
    OUT.mkdir(exist_ok=True)
    result = {"about": about, "comparisons": [asdict(c) for c in comparisons]}
    (OUT / f"{options.name}.json").write_text(json.dumps(result, indent=2) + "\n")
    (OUT / f"{options.name}.md").write_text(markdown(about, comparisons))
    print(f"written: {OUT / options.name}.json and .md")
    return 0


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--precision", choices=("fp32", "int8", "int8-dynamic"), default="fp32", help="of our file")
    parser.add_argument("--variants", nargs="+", default=VARIANTS, choices=VARIANTS)
    parser.add_argument("--targets", nargs="+", help="onnx, openvino, tflite, as far as they have the precision")
    parser.add_argument("--threads", nargs="+", type=int, default=(1, 2))
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--runs", type=int, default=5, help="runs of each file in a round")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--name", help="of the two files written to benchmarks/out/")
    options = parser.parse_args(arguments)
    having = [t for t in ("onnx", "openvino", "tflite") if options.precision in precisions(t)]
    options.targets = options.targets or having
    options.name = options.name or f"compare-{options.precision}"
    return options


def line_up(network: Network, targets: Sequence[str], precision: str) -> dict[str, list[Entrant]]:
    """Every target's files, ours first."""
    folder, pictures = network.folder(), calibration_pictures(network.calibration_count)
    made = {p: our_files(folder, list(targets), p, OUT / "ours") for p in dict.fromkeys([precision, "fp32"])}
    entrants = {}
    for target in targets:
        ours = [
            Entrant(name=f"edgecvx, {p}", path=paths[target], precision=p, ours=True, options=NO_OPTIONS)
            for p, paths in made.items()
        ]
        theirs = [
            Entrant(name=r.name, path=r.make(folder, pictures), precision=r.precision, ours=False, options=r.options)
            for r in rivals_of(target, precision)
            if r.precision != "bf16" or "avx512_bf16" in this_processor().instructions
        ]
        entrants[target] = [*ours, *theirs]
    return entrants


def checked(entrant: Entrant, logits: NDArray[np.float32], network: Network) -> Answers:
    """A file's answers, unless they are not those of the network."""
    reference = reference_logits(network, validation_pictures(PROBES)[0])
    answers = Answers(
        error=range_error(logits, reference),
        cosine=float(row_cosines(logits, reference).mean()),
        flips=float((logits.argmax(axis=1) != reference.argmax(axis=1)).mean()),
    )
    if entrant.precision == "fp32" and not answers.error <= CLOSE:
        raise SystemExit(f"{entrant.path.name} computes something else: error {answers.error:.2e}, allowed {CLOSE:g}")
    if entrant.ours and not answers.cosine >= CLOSE_COSINE:
        raise SystemExit(f"{entrant.path.name} computes something else: cosine {answers.cosine:.4f}")
    return answers


def raced(
    target: str, entrants: Sequence[Entrant], threads: int, options: argparse.Namespace
) -> tuple[NDArray[np.float64], list[NDArray[np.float32]]]:
    """Milliseconds of each file in each round, and its answers, from a process that does nothing else.

    It still matters how a process's memory happens to lie: in about one of five ONNX Runtime takes 2 to 3 ms longer for
    every file of atto alike, ours and theirs.
    """
    files = [(entrant.path, dict(entrant.options)) for entrant in entrants]
    with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as fresh:
        return fresh.submit(race, target, files, threads, options.rounds, options.runs, options.clock).result()


def race(
    target: str, paths: Sequence[tuple[Path, dict[str, str]]], threads: int, rounds: int, runs: int, clock: str
) -> tuple[NDArray[np.float64], list[NDArray[np.float32]]]:
    """Runs every file in turn; the order is reversed from round to round."""
    now = {"wall": time.perf_counter, "cpu": time.process_time}[clock]
    files = [open_file(target, path, threads=threads, options=options) for path, options in paths]
    pictures = list(images(validation_pictures(PROBES)[0]))
    inputs = [file.feed(pictures[0]) for file in files]
    times = np.empty((len(files), rounds))
    gc.disable()
    for turn in range(rounds):
        order = range(len(files)) if turn % 2 == 0 else reversed(range(len(files)))
        for i in order:
            times[i, turn] = median_ms(files[i], inputs[i], runs, now)
    gc.enable()
    return times, [np.concatenate([file.logits(file.feed(picture)) for picture in pictures]) for file in files]


def median_ms(file: OpenFile, x: NDArray[Any], runs: int, clock: Callable[[], float]) -> float:
    file.session.run(x)  # brings weights and code back into the caches
    samples = []
    for _ in range(runs):
        began = clock()
        file.session.run(x)
        samples.append(clock() - began)
    return float(np.median(samples)) * 1e3


def compared(
    target: str,
    network: Network,
    threads: int,
    entrants: Sequence[Entrant],
    times: NDArray[np.float64],
    answers: Sequence[Answers],
    other: int,
) -> Comparison:
    low, middle, high = np.percentile(times[other] / times[0], [25, 50, 75])
    return Comparison(
        target=target,
        variant=network.variant,
        weights=network.weights,
        rival=entrants[other].name,
        threads=threads,
        ours_ms=float(np.median(times[0])),
        rival_ms=float(np.median(times[other])),
        ratio=float(middle),
        low=float(low),
        high=float(high),
        ours_answers=answers[0],
        rival_answers=answers[other],
        ours_bytes=weight(entrants[0].path),
        rival_bytes=weight(entrants[other].path),
    )


def facts(options: argparse.Namespace, load_before: tuple[float, float, float]) -> dict[str, Any]:
    """What a reader has to know to judge the figures."""
    raced = {r.name: r for target in options.targets for r in rivals_of(target, options.precision)}
    return {
        "precision": options.precision,
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "clock": options.clock,
        "rounds": options.rounds,
        "runs_per_round": options.runs,
        "load_before": round(load_before[0], 2),
        "load_after": round(os.getloadavg()[0], 2),
        "runtimes": {
            t: f"{get_target(t).format.runtime} {availability(get_target(t).format.runtime).version}"
            for t in options.targets
        },
        "rivals": {name: versions(rival) for name, rival in raced.items()},
    }


def cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    found = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    known = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8")
    vectors = [flag for flag in known if flag in found.get("flags", "").split()]
    told = f"{found.get('model name', platform.processor())} ({', '.join(vectors)})"
    kind = os.environ.get("EDGECVX_PROCESSOR")  # tools/processors/hide.c: kernels of that class, executed by this one
    return f"{told}; what it has beyond {kind} was hidden from all programs" if kind else told


def row(c: Comparison) -> str:
    return (
        f"| {c.target} | {c.variant}, {c.weights} | {c.threads} | {c.rival} | {c.rival_ms:.2f} | {c.ours_ms:.2f} "
        f"| **{c.ratio:.2f}** ({c.low:.2f} to {c.high:.2f}) | {told(c.rival_answers)} | {told(c.ours_answers)} "
        f"| {c.rival_bytes / 1e6:.1f} | {c.ours_bytes / 1e6:.1f} |"
    )


def told(answers: Answers) -> str:
    """An error of summation, or how much of the answer is left."""
    if answers.error <= CLOSE:
        return f"{answers.error:.0e}"
    return f"cosine {answers.cosine:.4f}, {answers.flips:.0%} flips"


def markdown(about: dict[str, Any], comparisons: Sequence[Comparison]) -> str:
    clock = "time on the wall" if about["clock"] == "wall" else "processor time of the process"
    kind = about["precision"].upper()
    lines = [
        f"# Other tools' files against our {kind} files",
        "",
        "ConvNeXt V2 at 224 px, batch 1, one process, files run in turn. The weights stand beside the variant: seeded",
        f"random ones, or trained on drawn pictures (demo). Answers are to {PROBES} drawn pictures, against PyTorch:",
        "the largest error as a part of the logits' range, or their mean cosine and the share of other first classes.",
        "",
        f"- {about['cpu']}, {about['cores']} cores; {about['system']}",
        f"- {clock}; {about['rounds']} rounds of {about['runs_per_round']} runs",
        f"- load average {about['load_before']} before, {about['load_after']} after",
        *(f"- {target}: run by {name}" for target, name in about["runtimes"].items()),
        *(f"- {name}: {told}" for name, told in about["rivals"].items()),
        "",
        f"The ratio is how many times faster our {kind} file is: the median over rounds, with its quartiles.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        f"|{'---|' * len(COLUMNS)}",
        *map(row, comparisons),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
