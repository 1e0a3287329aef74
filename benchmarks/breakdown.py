"""Where the time of our INT8 files goes, and how far they are from nothing but their int8 products.

    python benchmarks/breakdown.py --clock cpu            # femto, one thread, into benchmarks/out/
    python benchmarks/breakdown.py --file tflite=x.tflite --variants femto

For each runtime three things are measured in one process: the file, and the floor (``floor.py``: the network's dense
int8 products alone, in the same runtime and shapes), in turn; and where the file's time goes, by the runtime's own
profile (``profiles.py``). The milliseconds of a kind are its share of the profile times the file's time without one,
because profiling costs time itself.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from compare import cpu_model
from files import open_file, our_files, precisions
from floor import FLOORS, Run, products_of
from networks import SIZE, VARIANTS, Network, images, network_for, validation_pictures
from paths import OUT
from profiles import PROFILES, Share

from edgecvx.models.load import load_model
from edgecvx.runtimes import availability
from edgecvx.targets import get_target

SHOWN = 0.005
"""Kinds with a smaller share stand in one row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Breakdown:
    """One file's time."""

    target: str
    variant: str
    file: str
    threads: int
    total_ms: float
    floor_ms: float
    shares: tuple[Share, ...]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--precision", choices=("int8", "int8-dynamic"), default="int8")
    parser.add_argument("--variants", nargs="+", default=("femto",), choices=VARIANTS)
    parser.add_argument("--targets", nargs="+", help="onnx, openvino, tflite, as far as they have the precision")
    parser.add_argument("--file", nargs="+", default=(), metavar="TARGET=FILE", help="in place of our own export")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--runs", type=int, default=5, help="runs of file and floor in a round")
    parser.add_argument("--profiled", type=int, default=100, help="runs under the profiler")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--name", default="breakdown", help="of the two files written to benchmarks/out/")
    options = parser.parse_args(arguments)
    given = {target: Path(path) for target, path in (entry.split("=", 1) for entry in options.file)}
    targets = options.targets or list(given) or [t for t in FLOORS if options.precision in precisions(t)]

    found = []
    for variant in options.variants:
        network = network_for(variant, options.precision)
        files = given or our_files(network.folder(), targets, options.precision, OUT / "ours")
        for target in targets:
            found.append(broken_down(target, files[target], network, options))
            print("\n".join(table(found[-1])), flush=True)
    OUT.mkdir(exist_ok=True)
    runtimes = [
        f"{t}: run by {get_target(t).format.runtime} {availability(get_target(t).format.runtime).version}"
        for t in targets
    ]
    result = {"cpu": cpu_model(), "clock": options.clock, "runtimes": runtimes, "files": [asdict(b) for b in found]}
    (OUT / f"{options.name}.json").write_text(json.dumps(result, indent=2) + "\n")
    (OUT / f"{options.name}.md").write_text(markdown(options, runtimes, found))
    print(f"written: {OUT / options.name}.json and .md")
    return 0


def broken_down(target: str, path: Path, network: Network, options: argparse.Namespace) -> Breakdown:
    image = next(images(validation_pictures(1)[0]))
    spec = load_model(network.folder()).spec
    products = products_of(spec.arch, SIZE, spec.num_classes)
    file = open_file(target, path, threads=options.threads)
    x = file.feed(image)
    clock = {"wall": time.perf_counter, "cpu": time.process_time}[options.clock]
    with tempfile.TemporaryDirectory() as folder:
        floor = FLOORS[target](products, Path(folder) / "products", options.threads)
        total_ms, floor_ms = in_turn((lambda: file.session.run(x), floor), options.rounds, options.runs, clock)
    file.session.close()
    return Breakdown(
        target=target,
        variant=network.variant,
        file=path.name,
        threads=options.threads,
        total_ms=total_ms,
        floor_ms=floor_ms,
        shares=tuple(PROFILES[target](path, image, options.threads, options.profiled)),
    )


def in_turn(candidates: Sequence[Run], rounds: int, runs: int, clock: Callable[[], float]) -> list[float]:
    """Milliseconds of each, the median over rounds in which they alternate."""
    times = np.empty((len(candidates), rounds))
    for turn in range(rounds):
        for i, run in enumerate(candidates):
            run()  # brings its weights back into the caches
            began = clock()
            for _ in range(runs):
                run()
            times[i, turn] = (clock() - began) / runs * 1e3
    return [float(ms) for ms in np.median(times, axis=1)]


def table(b: Breakdown) -> list[str]:
    """A file's time, kind by kind."""
    products = sum(s.share for s in b.shares if s.product)
    small = sum(s.share for s in b.shares if s.share < SHOWN)
    rows = [(f"{s.kind}{' (int8 product)' if s.product else ''}", s.share) for s in b.shares if s.share >= SHOWN]
    rows += [(f"kinds below {SHOWN:.1%}", small)] if small else []
    return [
        f"## {b.target}: {b.file}",
        "",
        f"{b.total_ms:.2f} ms in all; the int8 products alone {b.floor_ms:.2f} ms; **{b.total_ms / b.floor_ms:.2f}** "
        f"times the floor. In the file the int8 products take {products * b.total_ms:.2f} ms ({products:.0%}), "
        f"everything else {(1 - products) * b.total_ms:.2f} ms.",
        "",
        "| kind of work | share | ms |",
        "|---|---|---|",
        *(f"| {kind} | {share:.1%} | {share * b.total_ms:.2f} |" for kind, share in rows),
        "",
    ]


def markdown(options: argparse.Namespace, runtimes: Sequence[str], found: Sequence[Breakdown]) -> str:
    clock = "time on the wall" if options.clock == "wall" else "processor time of the process"
    lines = [
        f"# Where the time of our {options.precision.upper()} files goes",
        "",
        f"- {cpu_model()}, {options.threads} thread{'s' if options.threads > 1 else ''}; {clock}",
        *(f"- {runtime}" for runtime in runtimes),
        "",
        "The floor is the network's dense int8 products alone, in the same runtime, shapes and process.",
        "",
    ]
    for b in found:
        lines += table(b)
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
