"""Our files on an emulated 64-bit Arm board: instructions per inference, and whether it answers as this machine does.

    benchmarks/arm64/setup.sh ROOT                  # once, as root: Debian for arm64 with the real aarch64 wheels
    python benchmarks/arm64.py ROOT                 # as root: femto INT8 on both processors, into benchmarks/out/
    python benchmarks/arm64.py ROOT --precision fp32 --rivals --pictures 0

Instructions are those of one inference on one thread: a run with two inferences minus one with one. The number is
exact and the same on any day, so two files compare exactly, but it is no latency: instructions take unequal time, and
memory is not in it. Answers are compared on drawn pictures: the first class, and the largest difference of the logits.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """A processor to emulate, by QEMU's name, and what its /proc/cpuinfo says."""

    name: str
    board: str
    target: str
    """Ours for this board."""
    part: str
    features: str

    @property
    def cpuinfo(self) -> str:
        """Of the board with four of them; the runtimes choose their kernels by it."""
        lines = {
            "BogoMIPS": "108.00",
            "Features": self.features,
            "CPU implementer": "0x41",
            "CPU architecture": "8",
            "CPU variant": "0x0",
            "CPU part": self.part,
            "CPU revision": "1",
        }
        told = "".join(f"{key}\t: {value}\n" for key, value in lines.items())
        return "".join(f"processor\t: {cpu}\n{told}\n" for cpu in range(4)) + f"Model\t\t: {self.board}\n"


_ARMV8 = "fp asimd evtstrm aes pmull sha1 sha2 crc32"
CORES = (
    Core(
        name="cortex-a76",
        board="Raspberry Pi 5 Model B Rev 1.0",
        target="raspberrypi5",
        part="0xd0b",
        features=f"{_ARMV8} atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp",
    ),
    Core(
        name="cortex-a72",
        board="Raspberry Pi 4 Model B Rev 1.4",
        target="raspberrypi4",
        part="0xd08",
        features=_ARMV8,
    ),
)


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
    parser.add_argument("root", type=Path, help="the board that benchmarks/arm64/setup.sh has built")
    parser.add_argument("--precision", choices=("fp32", "int8", "int8-dynamic"), default="int8")
    parser.add_argument("--variants", nargs="+", default=("femto",), choices=VARIANTS)
    parser.add_argument("--cores", nargs="+", default=[c.name for c in CORES], choices=[c.name for c in CORES])
    parser.add_argument("--pictures", type=int, default=20, help="whose answers are compared; each takes seconds")
    parser.add_argument("--rivals", action="store_true", help="other tools' TFLite files too")
    parser.add_argument("--name", default="arm64", help="of the two files written to benchmarks/out/")
    options = parser.parse_args(arguments)
    if not (options.root / "qemu" / "qemu-aarch64").exists():
        raise SystemExit(f"{options.root} is no board: build it with {HERE / 'arm64' / 'setup.sh'}")

    found: list[OnBoard] = []
    print("\n".join(HEAD))
    for core in (c for c in CORES if c.name in options.cores):
        board = Board(options.root, core)
        for variant in options.variants:
            network = network_for(variant, options.precision)
            for tool, target, path in candidates(network, core, options):
                found.append(on_board(board, network, tool, target, path, options.pictures))
                print(row(found[-1]), flush=True)
    OUT.mkdir(exist_ok=True)
    (OUT / f"{options.name}.json").write_text(json.dumps([asdict(f) for f in found], indent=2) + "\n")
    (OUT / f"{options.name}.md").write_text("\n".join([*ABOUT, *HEAD, *map(row, found)]) + "\n")
    print(f"written: {OUT / options.name}.json and .md")
    return 0


class Board:
    """The emulated board, as one processor."""

    def __init__(self, root: Path, core: Core) -> None:
        self._root, self._core = root, core
        (root / "proc" / "cpuinfo").write_text(core.cpuinfo)
        shutil.copy(HERE / "arm64" / "on_board.py", root / "tmp")

    @property
    def core(self) -> str:
        """The processor's name."""
        return self._core.name

    def run(self, path: Path, inputs: NDArray[np.generic], runs: int) -> tuple[NDArray[np.generic], int]:
        """The outputs of a file for the first inputs, and the instructions of the whole program."""
        tmp = self._root / "tmp"
        model, counted = tmp / f"model{path.suffix}", tmp / "icount"
        shutil.copy(path, model)
        np.save(tmp / "inputs.npy", inputs)
        counted.unlink(missing_ok=True)
        # The emulator is a program of this machine; it brings its own loader and libraries into the board.
        emulator = ["/qemu/ld-linux-x86-64.so.2", "--library-path", "/qemu", "/qemu/qemu-aarch64"]
        emulator += ["-cpu", self._core.name, "-plugin", "/qemu/libicount.so"]
        emulator += ["-E", "PYTHONPATH=/site", "-E", "OPENBLAS_NUM_THREADS=1", "-E", "PYTHONHASHSEED=0"]
        program = ["/usr/bin/python3.11", "/tmp/on_board.py", f"/tmp/{model.name}"]
        program += ["/tmp/inputs.npy", "/tmp/outputs.npy", str(runs)]
        chroot = shutil.which("chroot", path="/usr/sbin:/usr/bin:/sbin:/bin") or "chroot"
        command = [chroot, str(self._root), *emulator, *program]
        done = subprocess.run(command, env={}, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{path.name} failed on {self.core}:\n{done.stderr[-1000:]}")
        return np.load(tmp / "outputs.npy"), int(counted.read_text())


def candidates(network: Network, core: Core, options: argparse.Namespace) -> Iterator[tuple[str, str, Path]]:
    """Tool, target and file of everything to run on a processor."""
    root: Path = options.root
    folder = network.folder()
    packages = {core.target: "ai_edge_litert", "onnx": "onnxruntime"}
    for target, package in packages.items():
        if (root / "site" / package).is_dir() and options.precision in precisions(target):
            paths = our_files(folder, [target], options.precision, OUT / "ours" / target)
            yield f"edgecvx, {options.precision}", target, paths[target]
    if options.rivals and (root / "site" / "ai_edge_litert").is_dir():
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
