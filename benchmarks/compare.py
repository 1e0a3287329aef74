"""Times other tools' files against ours: the same network, the same runtime, the same process, run by run in turn.

    benchmarks/setup.sh                       # once: the other tools, in their own environments
    python benchmarks/compare.py              # all four variants, 1 and 2 threads, into benchmarks/out/
    python benchmarks/compare.py --variants femto --threads 1 --clock cpu

Both sides start from one transformers folder with seeded weights. Ours goes through ``edgecvx.export``, self-check
included. Before anything is timed, both files must give PyTorch's logits for a probe picture.

A figure is a ratio: in each round every file runs in turn, so what disturbs the machine disturbs all of them, and the
table shows the median over rounds with its quartiles. ``--clock cpu`` counts the processor time of this process
instead of time on the wall: for one thread the same on an idle machine, and far steadier on a shared one.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rivals import RIVALS, Rival, run_in, versions

from edgecvx.pipeline import export
from edgecvx.runtimes import availability, open_session
from edgecvx.runtimes.base import Session
from edgecvx.runtimes.torch import TorchSession
from edgecvx.targets import get_target

OUT = Path(__file__).parent / "out"
VARIANTS = ("atto", "femto", "pico", "nano")
CLOSE = 1e-3
"""Largest error of a file's logits, as a fraction of their range: another order of summation, no other function."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One rival's file against ours."""

    target: str
    variant: str
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
    ours_error: float
    rival_error: float
    ours_bytes: int
    rival_bytes: int


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--variants", nargs="+", default=VARIANTS, choices=VARIANTS)
    parser.add_argument("--targets", nargs="+", default=("onnx", "openvino", "tflite"))
    parser.add_argument("--threads", nargs="+", type=int, default=(1, 2))
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--runs", type=int, default=5, help="runs of each file in a round")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--name", default="compare", help="of the two files written to benchmarks/out/")
    options = parser.parse_args(arguments)
    clock = {"wall": time.perf_counter, "cpu": time.process_time}[options.clock]

    load_before = os.getloadavg()
    comparisons: list[Comparison] = []
    for variant in options.variants:
        network = make_network(variant)
        reference, picture = logits_of(network)
        for target in options.targets:
            rivals = [rival for rival in RIVALS if rival.target == target]
            files = [our_file(network, target), *(rival.make(network, OUT / "others") for rival in rivals)]
            for threads in options.threads:
                times, errors = race(files, target, threads, picture, reference, options.rounds, options.runs, clock)
                for rival, path, ms, error in zip(rivals, files[1:], times[1:], errors[1:], strict=True):
                    comparison = compared(variant, rival, threads, times[0], ms, (errors[0], error), (files[0], path))
                    comparisons.append(comparison)
                    print(row(comparison), flush=True)
    about = facts(options, load_before)
    OUT.mkdir(exist_ok=True)
    result = {"about": about, "comparisons": [asdict(c) for c in comparisons]}
    (OUT / f"{options.name}.json").write_text(json.dumps(result, indent=2) + "\n")
    (OUT / f"{options.name}.md").write_text(markdown(about, comparisons))
    print(f"written: {OUT / options.name}.json and .md")
    return 0


def make_network(variant: str) -> Path:
    """The transformers folder everybody starts from."""
    folder = OUT / "networks" / f"convnextv2_{variant}"
    if not (folder / "preprocessor_config.json").exists():  # the last file written
        folder.mkdir(parents=True, exist_ok=True)
        run_in("plain", "make_network.py", variant, folder)
    return folder


def our_file(network: Path, target: str) -> Path:
    """Our file for it, written anew each time."""
    return export(network, target=target, out=OUT / "ours").artifacts[0].path


def logits_of(network: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    """PyTorch's logits for a probe picture, and the picture in NCHW."""
    from edgecvx.models.load import load_model

    picture = np.random.default_rng(0).standard_normal((1, 3, 224, 224), dtype=np.float32)
    return TorchSession(load_model(network).module).run(picture)["logits"], picture


def race(
    files: Sequence[Path],
    target: str,
    threads: int,
    picture: NDArray[Any],
    reference: NDArray[Any],
    rounds: int,
    runs: int,
    clock: Callable[[], float],
) -> tuple[list[NDArray[Any]], list[float]]:
    """Milliseconds per round of each file, and its error; the order is reversed from round to round."""
    runtime = get_target(target).runtime
    sessions = [open_session(runtime, path, threads=threads, isolated=False) for path in files]
    inputs = [in_layout(picture, session) for session in sessions]
    errors = []
    for path, session, x in zip(files, sessions, inputs, strict=True):
        (logits,) = session.run(x).values()
        errors.append(float(np.abs(logits - reference).max() / np.ptp(reference)))
        if not errors[-1] <= CLOSE:
            raise SystemExit(f"{path.name} computes something else: error {errors[-1]:.2e}, allowed is {CLOSE:g}")
    times = np.empty((len(files), rounds))
    gc.disable()
    for turn in range(rounds):
        order = range(len(files)) if turn % 2 == 0 else reversed(range(len(files)))
        for i in order:
            times[i, turn] = median_ms(sessions[i], inputs[i], runs, clock)
    gc.enable()
    for session in sessions:
        session.close()
    return list(times), errors


def median_ms(session: Session, x: NDArray[Any], runs: int, clock: Callable[[], float]) -> float:
    session.run(x)  # brings weights and code back into the caches
    samples = []
    for _ in range(runs):
        began = clock()
        session.run(x)
        samples.append(clock() - began)
    return float(np.median(samples)) * 1e3


def in_layout(picture: NDArray[Any], session: Session) -> NDArray[Any]:
    """The NCHW picture as a file takes it; its shape tells the layout."""
    shape = session.inputs[0].shape
    return np.ascontiguousarray(picture if shape[1] == 3 else picture.transpose(0, 2, 3, 1))


def compared(
    variant: str,
    rival: Rival,
    threads: int,
    ours: NDArray[Any],
    theirs: NDArray[Any],
    errors: tuple[float, float],
    files: tuple[Path, Path],
) -> Comparison:
    low, middle, high = np.percentile(theirs / ours, [25, 50, 75])
    return Comparison(
        target=rival.target,
        variant=variant,
        rival=rival.name,
        threads=threads,
        ours_ms=float(np.median(ours)),
        rival_ms=float(np.median(theirs)),
        ratio=float(middle),
        low=float(low),
        high=float(high),
        ours_error=errors[0],
        rival_error=errors[1],
        ours_bytes=weight(files[0]),
        rival_bytes=weight(files[1]),
    )


def weight(path: Path) -> int:
    weights = path.with_suffix(".bin")
    return path.stat().st_size + (weights.stat().st_size if path.suffix == ".xml" else 0)


def facts(options: argparse.Namespace, load_before: tuple[float, float, float]) -> dict[str, Any]:
    """What a reader has to know to judge the figures."""
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "clock": options.clock,
        "rounds": options.rounds,
        "runs_per_round": options.runs,
        "load_before": round(load_before[0], 2),
        "load_after": round(os.getloadavg()[0], 2),
        "runtimes": {
            t: f"{get_target(t).runtime} {availability(get_target(t).runtime).version}" for t in options.targets
        },
        "rivals": {rival.name: versions(rival) for rival in RIVALS if rival.target in options.targets},
    }


def cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    found = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    vectors = [flag for flag in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16") if flag in found.get("flags", "")]
    return f"{found.get('model name', platform.processor())} ({', '.join(vectors)})"


def row(c: Comparison) -> str:
    return (
        f"| {c.target} | {c.variant} | {c.threads} | {c.rival} | {c.rival_ms:.2f} | {c.ours_ms:.2f} "
        f"| **{c.ratio:.2f}** ({c.low:.2f} to {c.high:.2f}) | {c.rival_error:.0e} | {c.ours_error:.0e} |"
    )


def markdown(about: dict[str, Any], comparisons: Sequence[Comparison]) -> str:
    clock = "time on the wall" if about["clock"] == "wall" else "processor time of the process"
    lines = [
        "# FP32 files of other tools against ours",
        "",
        "ConvNeXt V2 at 224 px, batch 1, seeded random weights, one process, files run in turn.",
        "",
        f"- {about['cpu']}, {about['cores']} cores; {about['system']}",
        f"- {clock}; {about['rounds']} rounds of {about['runs_per_round']} runs",
        f"- load average {about['load_before']} before, {about['load_after']} after",
        *(f"- {target}: run by {name}" for target, name in about["runtimes"].items()),
        *(f"- {name}: {told}" for name, told in about["rivals"].items()),
        "",
        "The ratio is how many times faster ours is: the median over rounds, with its quartiles.",
        "Errors are against FP32 PyTorch, as a part of the logits' range.",
        "",
        "| runtime | variant | threads | other tool | its ms | our ms | ratio | its error | our error |",
        "|---|---|---|---|---|---|---|---|---|",
        *map(row, comparisons),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
