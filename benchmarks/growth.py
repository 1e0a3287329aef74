"""How processor time and memory of a validation grow with pictures, size and variant: the table of docs/validation.md.

Processor seconds, because wall time depends on who else uses the machine; memory is the most that a process held.

    python benchmarks/growth.py
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CASES = (
    ("atto", 224, 100),
    ("atto", 224, 400),
    ("femto", 224, 100),
    ("femto", 384, 100),
    ("nano", 224, 100),
    ("nano", 384, 100),
)
_RUN = """
import json, resource, sys, time
from edgecvx import validate
begun = time.perf_counter()
validate(sys.argv[1], limit=int(sys.argv[2]), truth="none", cache_dir=__import__("pathlib").Path(sys.argv[3]))
seconds = time.perf_counter() - begun
whose = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(json.dumps([seconds, *(u.ru_utime + u.ru_stime for u in whose), *(u.ru_maxrss / 1024 for u in whose)]))
"""


def main() -> None:
    """Prints one row a case."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--target", default="onnx")
    asked = parser.parse_args()
    print("| variant | size | pictures | processor seconds | a picture | reference and decoding | runtime |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="edgecvx-growth-") as temporary:
        for variant, size, pictures in CASES:
            folder = Path(temporary) / f"{variant}-{size}"
            edgecvx = [
                sys.executable,
                "-m",
                "edgecvx",
                "export",
                variant,
                "--weights",
                "random",
                "--target",
                asked.target,
            ]
            subprocess.run([*edgecvx, "--image-size", str(size), "--out", folder], check=True, capture_output=True)
            (artifact,) = folder.glob("*.onnx") if asked.target == "onnx" else folder.glob(f"*.{asked.target}")
            cache = folder / f"cache-{time.monotonic_ns()}"
            command = [sys.executable, "-c", _RUN, str(artifact), str(pictures), str(cache)]
            ran = subprocess.run(command, check=True, capture_output=True, text=True, env=dict(os.environ))
            _, own, children, peak, child_peak = json.loads(ran.stdout)
            print(
                f"| {variant} | {size} | {pictures} | {own + children:.0f} | "
                f"{1000 * (own + children) / pictures:.0f} ms | {peak:.0f} MiB | {child_peak:.0f} MiB |",
                flush=True,
            )


if __name__ == "__main__":
    main()
