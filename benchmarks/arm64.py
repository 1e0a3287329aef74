"""Our files on an emulated 64-bit Arm board: instructions per inference, and whether it answers as this machine does.

    make board                                      # once: Debian for arm64 with the real aarch64 wheels
    python benchmarks/arm64.py                      # femto INT8 on both processors, into benchmarks/out/
    python benchmarks/arm64.py --precision fp32 --rivals --pictures 0

Instructions are those of one inference on one thread: a run with two inferences minus one with one. The number is
exact and the same on any day, so two files compare exactly, but it is no latency: instructions take unequal time, and
memory is not in it. Answers are compared on drawn pictures: the first class, and the largest difference of the logits.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from files import open_file, our_files, precisions
from networks import VARIANTS, Network, calibration_pictures, images, network_for, validation_pictures
from numpy.typing import NDArray
from paths import HERE, OUT
from rivals import rivals_of

TARGETS = {"cortex-a76": "raspberrypi5", "cortex-a72": "raspberrypi4"}
"""Processors to emulate, by QEMU's name -> ours for the board that has them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnBoard:
    """One file on one processor."""

    core: str
    variant: str
    tool: str
    file: str
    instructions: int
    """Per inference."""
    pictures: int
    same_class: int
    """Of them, how many get the same first class as on this machine."""
    largest_difference: float
    """Of the logits, between the two machines, as a part of their range; 0 where nothing was compared."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--board", type=Path, default=HERE.parent / "build" / "board", help="where it was made")
    parser.add_argument("--precision", choices=("fp32", "int8", "int8-dynamic"), default="int8")
    parser.add_argument("--variants", nargs="+", default=("femto",), choices=VARIANTS)
    parser.add_argument("--cores", nargs="+", default=list(TARGETS), choices=list(TARGETS))
    parser.add_argument("--pictures", type=int, default=20, help="whose answers are compared; each takes seconds")
    parser.add_argument("--rivals", action="store_true", help="other tools' TFLite files too")
    parser.add_argument("--name", default="arm64", help="of the two files written to benchmarks/out/")
    options = parser.parse_args(arguments)
    if not (options.board / ".ready").exists():
        raise SystemExit(f"{options.board} is no board: make board")

    found: list[OnBoard] = []
    print("\n".join(HEAD))
    for core in options.cores:
        board = Board(options.board, core)
        for variant in options.variants:
            network = network_for(variant, options.precision)
            for tool, target, path in candidates(network, board, options):
                found.append(on_board(board, network, tool, target, path, options.pictures))
                print(row(found[-1]), flush=True)
    OUT.mkdir(exist_ok=True)
    (OUT / f"{options.name}.json").write_text(json.dumps([asdict(f) for f in found], indent=2) + "\n")
    (OUT / f"{options.name}.md").write_text("\n".join([*ABOUT, *HEAD, *map(row, found)]) + "\n")
    print(f"written: {OUT / options.name}.json and .md")
    return 0


class Board:
    """The emulated board, as one processor."""

    def __init__(self, folder: Path, core: str) -> None:
        self.core = core
        self._python = folder / core / "python"
        self._site = folder / "root" / "site"
        self._counter = OUT / "libicount.so"
        self._counter.parent.mkdir(exist_ok=True)
        source = HERE / "arm64" / "icount.c"
        subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", self._counter, source], check=True)

    def has(self, package: str) -> bool:
        """Whether a Python package is installed there."""
        return (self._site / package).is_dir()

    def run(self, path: Path, inputs: NDArray[np.generic], runs: int) -> tuple[NDArray[np.generic], int]:
        """The outputs of a file for the first inputs, and the instructions of the whole program."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            np.save(folder / "inputs.npy", inputs)
            program = [HERE / "arm64" / "on_board.py", path, folder / "inputs.npy", folder / "outputs.npy", str(runs)]
            environment = {"PATH": os.environ["PATH"], "PYTHONPATH": "/site", "PYTHONHASHSEED": "0"}
            environment |= {"OPENBLAS_NUM_THREADS": "1", "QEMU_PLUGIN": f"{self._counter},out={folder / 'count'}"}
            done = subprocess.run(
                [self._python, *program], env=environment, capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise SystemExit(f"{path.name} failed on {self.core}:\n{done.stderr[-1000:]}")
            return np.load(folder / "outputs.npy"), int((folder / "count").read_text())


def candidates(network: Network, board: Board, options: argparse.Namespace) -> Iterator[tuple[str, str, Path]]:
    """Tool, target and file of everything to run on a processor."""
    folder = network.folder()
    packages = {TARGETS[board.core]: "ai_edge_litert", "onnx": "onnxruntime"}
    for target, package in packages.items():
        if board.has(package) and options.precision in precisions(target):
            paths = our_files(folder, [target], options.precision, OUT / "ours" / target)
            yield f"edgecvx, {options.precision}", target, paths[target]
    if options.rivals and board.has("ai_edge_litert"):
        pictures = calibration_pictures(network.calibration_count)
        for rival in rivals_of("tflite", options.precision):
            yield rival.name, rival.target, rival.make(folder, pictures)


def on_board(board: Board, network: Network, tool: str, target: str, path: Path, pictures: int) -> OnBoard:
    file = open_file(target, path, threads=1)
    drawn = validation_pictures(max(pictures, 2))[0]
    inputs = np.stack([file.feed(image) for image in images(drawn)])
    here = np.concatenate([file.logits(x) for x in islice(inputs, pictures)]) if pictures else np.empty((0, 1))
    file.session.close()
    # The answers come first, because a first start also compiles the wheels' Python files.
    there = file.values(board.run(path, inputs, pictures)[0].reshape(here.shape))
    once, twice = (board.run(path, inputs[:2], runs)[1] for runs in (1, 2))
    return OnBoard(
        core=board.core,
        variant=network.variant,
        tool=tool,
        file=path.name,
        instructions=twice - once,
        pictures=pictures,
        same_class=int((here.argmax(axis=1) == there.argmax(axis=1)).sum()),
        largest_difference=float(np.abs(here - there).max() / np.ptp(here)) if pictures else 0.0,
    )


ABOUT = (
    "# On an emulated Arm board",
    "",
    "ConvNeXt V2 at 224 px, one thread, the runtimes' real aarch64 wheels, QEMU. Instructions are those of one",
    "inference: a count and no latency. Answers are compared with those of the same file on the machine that emulates.",
    "",
)
HEAD = (
    "| processor | variant | tool | file | M instructions | same first class | largest difference |",
    "|---|---|---|---|---|---|---|",
)


def row(f: OnBoard) -> str:
    compared = f"{f.same_class} of {f.pictures} | {f.largest_difference:.1e}" if f.pictures else "- | -"
    return f"| {f.core} | {f.variant} | {f.tool} | {f.file} | {f.instructions / 1e6:.1f} | {compared} |"


if __name__ == "__main__":
    sys.exit(main())
