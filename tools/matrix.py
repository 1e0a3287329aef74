"""The SHA-256 of every file that the package writes, over variants, targets, precisions, tasks and inputs.

    python tools/matrix.py before.sha256                             # before a change that must not change a byte
    python tools/matrix.py after.sha256 --against before.sha256

The second call names what differs and exits 1. Calls that are refused are lines too: what cannot be written must stay
what it is. The files themselves are thrown away.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import itertools
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgecvx.errors import EdgecvxError
from edgecvx.export.formats import FORMATS
from edgecvx.pipeline import export
from edgecvx.spec import CALIBRATION_PICTURES, Precision

MODELS = (*((name, "random") for name in ("atto", "femto", "pico", "nano")), ("atto", "demo"), ("femto", "demo"))
TASKS = ("classify", "features", "embed")
INPUTS = ("float", "uint8")
PRECISIONS = tuple(precision.value for precision in Precision)
DEVICES = (("raspberrypi4", "jetson-orin-nano", "iphone", "intel-cpu"), ("raspberrypi5",), ("android-cpu",))
"""Apart, for their files have the names of others."""
SIZE, PICTURES = 64, 8


@dataclass(frozen=True)
class Call:
    """One export."""

    model: str
    weights: str
    task: str
    kind: str
    precision: str
    targets: tuple[str, ...]

    @property
    def name(self) -> str:
        """How its lines begin."""
        return "/".join((self.model, self.weights, self.task, self.kind, self.precision, "+".join(self.targets)))


def calls() -> Iterator[Call]:
    """Every combination; those that a target refuses are among them. Devices take one task and input: floats."""
    together = tuple(name for name in FORMATS if name != "web")  # whose file has the name of native's
    for (model, weights), task, kind, precision in itertools.product(MODELS, TASKS, INPUTS, PRECISIONS):
        for targets in (together, ("web",), *(DEVICES if (task, kind) == ("classify", "float") else ())):
            yield Call(model=model, weights=weights, task=task, kind=kind, precision=precision, targets=targets)


def lines(call: Call) -> Iterator[str]:
    """One line per file that the call writes; where a target refuses, each for itself, with what it says."""
    folder = Path(tempfile.mkdtemp(prefix="edgecvx-matrix-"))
    try:
        export(
            call.model,
            weights=call.weights,
            target=call.targets,
            precision=call.precision,
            task=call.task,
            input_kind=call.kind,
            image_size=SIZE,
            calib_samples=PICTURES if call.precision == "int8" else CALIBRATION_PICTURES,
            out=folder,
        )
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            yield f"{call.name} {path.relative_to(folder).as_posix()} {hashlib.sha256(path.read_bytes()).hexdigest()}"
    except EdgecvxError as error:
        if len(call.targets) == 1:
            yield f"{call.name} refused: {error}"
        else:
            for target in call.targets:
                yield from lines(dataclasses.replace(call, targets=(target,)))
    finally:
        shutil.rmtree(folder)


def main() -> int:
    """Writes the list, or compares with one."""
    parser = argparse.ArgumentParser(description="the SHA-256 of every file that the package writes")
    parser.add_argument("list", type=Path, help="where the list is written; one that was left unfinished goes on")
    parser.add_argument("--against", type=Path, help="a list to compare with")
    options = parser.parse_args()
    written = options.list.read_text().splitlines() if options.list.exists() else []
    done = {line.partition(" ")[2] for line in written if line.startswith("done ")}
    with options.list.open("a") as out:
        for call in calls():
            if call.name not in done:
                out.writelines(f"{line}\n" for line in (*lines(call), f"done {call.name}"))
                out.flush()
    if options.against is None:
        return 0
    before, now = (set(path.read_text().splitlines()) for path in (options.against, options.list))
    differing = sorted(before ^ now)
    print("\n".join((*differing[:50], f"{len(before)} lines before, {len(now)} now, {len(differing)} differ")))
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
