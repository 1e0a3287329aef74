"""How small a program with a network in it can be: `examples/c/classify.c`, the engine in it, and femto's INT8 file.

The engine is compiled into the program, as one C file, for size and for speed; what no call reaches and what names it
are left out. Nothing else goes to the board but libc, so the sum is the whole install.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from native_programs import here  # of tools/native_proof

import edgecvx
from edgecvx.errors import EdgecvxError
from edgecvx.native.build import FLAGS
from edgecvx.native.sources import ENGINE

SOURCE = Path(__file__).parents[1] / "examples" / "c" / "classify.c"
MOST = 6_000_000
"""Bytes of program and model together."""
OPTIMIZED = ("-Os", "-O3")
_UNREACHED = ("-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections", "-s")


def build_program(optimized: str, out: Path) -> Path:
    """Compiles the example with the engine in it.

    Raises:
        EdgecvxError: There is no C compiler, or it fails.
    """
    if not (compiler := here()):
        raise EdgecvxError("there is no C compiler here: install cc, or ziglang")
    flags = [optimized if flag == "-O3" else flag for flag in FLAGS]
    words = [*compiler, *flags, *_UNREACHED, f"-I{ENGINE}", str(SOURCE), str(ENGINE / "all.c")]
    done = subprocess.run([*words, "-lm", "-lpthread", "-o", str(out)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise EdgecvxError(f"the program cannot be built: {done.stderr.strip().splitlines()[-1]}")
    return out


def line(optimized: str, program: int, model: int) -> str:
    """A row of docs/native.md."""
    total = program + model
    word = "" if total <= MOST else f", more than {MOST / 1e6:g} MB"
    return f"| `{optimized}` | {program / 1e6:.2f} MB | {model / 1e6:.2f} MB | {total / 1e6:.2f} MB{word} |"


def main(words: Sequence[str] | None = None) -> int:
    """Prints a table; 1 where program and model together are too large."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--weights", default="demo", help="demo, or random for ImageNet's thousand classes")
    asked = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        try:
            made = edgecvx.export(
                "femto", target="native", precision="int8", weights=asked.weights, out=folder / "model"
            )
            model = made.artifacts[0].path.stat().st_size
            sizes = {o: build_program(o, folder / f"classify{o}").stat().st_size for o in OPTIMIZED}
        except EdgecvxError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
    print("| | program with the engine | femto, INT8 | together |\n|---|---|---|---|")
    print(*(line(optimized, size, model) for optimized, size in sizes.items()), sep="\n")
    return 0 if all(size + model <= MOST for size in sizes.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
