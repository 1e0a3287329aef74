"""How processor time and memory grow with pictures, size and variant: the tables of docs/validation.md.

Processor seconds, because wall time depends on who else uses the machine; memory is the most that a process held.

    python benchmarks/growth.py                  # of a validation
    python benchmarks/growth.py --of export      # of an export in INT8 for four targets
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CASES = (
    ("atto", 224, 100),
    ("atto", 224, 400),
    ("femto", 224, 100),
    ("femto", 384, 100),
    ("nano", 224, 100),
    ("nano", 384, 100),
)
EXPORTED = (("atto", 224), ("femto", 224), ("femto", 384), ("nano", 224), ("nano", 384))
TARGETS = ("onnx", "openvino", "tflite", "coreml")
_MEASURE = """
import json, resource, sys, time
from pathlib import Path
begun = time.perf_counter()
{work}
seconds = time.perf_counter() - begun
whose = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(json.dumps([seconds, *(u.ru_utime + u.ru_stime for u in whose), *(u.ru_maxrss / 1024 for u in whose)]))
"""
_VALIDATE = """
from edgecvx import validate
validate(sys.argv[1], limit=int(sys.argv[2]), truth="none", cache_dir=Path(sys.argv[3]))
"""
_EXPORT = """
from edgecvx import export
export(sys.argv[1], weights="random", target=sys.argv[4].split(","), precision=sys.argv[5], image_size=int(sys.argv[2]),
       out=sys.argv[3])
"""


def measured(work: str, *arguments: object) -> tuple[float, ...]:
    """Seconds, processor seconds of a process and of its children, and the most memory of each in MiB."""
    command = [sys.executable, "-c", _MEASURE.format(work=work), *map(str, arguments)]
    ran = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: list[float] = json.loads(ran.stdout.splitlines()[-1])
    return tuple(found)


def of_validation(folder: Path, target: str) -> None:
    """Prints one row a case."""
    row("variant", "size", "pictures", "processor seconds", "a picture", "reference and decoding", "runtime")
    row(*["---"] * 7)
    for variant, size, pictures in CASES:
        files = folder / f"{variant}-{size}"
        if not files.exists():
            measured(_EXPORT, variant, size, files, target, "fp32")
        artifact = next(path for path in files.iterdir() if path.suffix == f".{target}")
        _, own, children, peak, of_child = measured(
            _VALIDATE, artifact, pictures, folder / f"cache-{files.name}-{pictures}"
        )
        used = own + children
        each = f"{1000 * used / pictures:.0f} ms"
        row(variant, size, pictures, f"{used:.0f}", each, f"{peak:.0f} MiB", f"{of_child:.0f} MiB")


def of_export(folder: Path, targets: Sequence[str]) -> None:
    """Prints one row a case."""
    row("variant", "size", "seconds", "processor seconds", "memory")
    row(*["---"] * 5)
    for variant, size in EXPORTED:
        seconds, own, children, peak, _ = measured(  # Linux counts what a child has of its parent before it begins
            _EXPORT, variant, size, folder / f"{variant}-{size}", ",".join(targets), "int8"
        )
        row(variant, size, f"{seconds:.0f}", f"{own + children:.0f}", f"{peak:.0f} MiB")


def row(*cells: Any) -> None:
    """One of a table in Markdown."""
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--of", choices=("validation", "export"), default="validation")
    parser.add_argument(
        "--targets", nargs="+", default=(), help="onnx for a validation, of which there is one; four for an export"
    )
    asked = parser.parse_args()
    if asked.of == "validation" and len(asked.targets) > 1:
        parser.error("a validation is measured for one target")
    with tempfile.TemporaryDirectory(prefix="edgecvx-growth-") as temporary:
        if asked.of == "validation":
            of_validation(Path(temporary), *(asked.targets or ("onnx",)))
        else:
            of_export(Path(temporary), asked.targets or TARGETS)


if __name__ == "__main__":
    main()
