"""Files that anybody may have made, calls in any order, and threads: C programs under gcc's sanitizers."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import native_programs as programs
import numpy as np
from ecvx_networks import WIDTHS, random_file

from edgecvx.native.sources import ENGINE

CLEAN = 0


def corpus(folder: Path, count: int) -> list[str]:
    """Small files of networks that differ as much as they can; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for seed in range(count):
        draw = np.random.default_rng(seed)
        dims = tuple(int(width) for width in draw.choice(WIDTHS[:3], 4))
        path = folder / f"{seed}.ecvx"
        path.write_bytes(random_file(seed, size=32, dims=dims, stem_mid=4))
        paths.append(str(path))
    return paths


def hostile(*options: str, folder: Path = ENGINE, opt: str = "-O0") -> Path:
    """``hostile.c`` with sanitizers of addresses and of what C leaves undefined."""
    flags = (*programs.ADDRESS, *programs.SCARCE, *options, "-lpthread")
    return programs.compiled(programs.HERE / "hostile.c", *flags, compiler=_gcc(), folder=folder, beside=True, opt=opt)


def threads(*options: str, folder: Path = ENGINE, opt: str = "-O0") -> Path:
    """``threads.c`` with a sanitizer of threads."""
    flags = (*programs.THREAD, *options, "-lpthread")
    return programs.compiled(programs.HERE / "threads.c", *flags, compiler=_gcc(), folder=folder, beside=True, opt=opt)


def run(program: Path, words: Sequence[str], limit: float = 3000.0) -> tuple[int, str]:
    """The exit code, and what was said, findings first."""
    done = subprocess.run(
        [str(program), *words], capture_output=True, text=True, errors="replace", check=False, timeout=limit
    )
    return done.returncode, done.stderr + done.stdout


def _gcc() -> tuple[str, ...]:
    program = programs.gcc()
    if program is None:
        raise RuntimeError("gcc is not installed, whose sanitizers these programs need")
    return (program,)
