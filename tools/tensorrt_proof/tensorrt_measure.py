"""What TensorRT makes of the files of a prepared folder: engines, answers to all pictures, and times; as a table."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tensorrt_files import LATENCY, LOGITS, PICTURES, TABLE, Plan, read_plan
from tensorrt_table import Answers, Row, machine, table
from tensorrt_times import engine_milliseconds, trtexec_milliseconds

from edgecvx.data.preprocess import as_input
from edgecvx.errors import ArtifactError, EdgecvxError
from edgecvx.files import read_artifact, write_atomically
from edgecvx.latency.bench import as_json, benchmark
from edgecvx.manifest import Manifest
from edgecvx.proof.metrics import max_error_of_range, row_cosines
from edgecvx.results.figures import megabytes, milliseconds
from edgecvx.results.latency import Benchmark, percentile
from edgecvx.runtimes import open_session
from edgecvx.runtimes.base import Session, run_batches
from edgecvx.runtimes.proof import check
from edgecvx.runtimes.tensorrt_engine import build_engine

RUNS, ROUNDS = 1000, 20
_BATCH = 64
"""Pictures that are made into floats at once."""


def compare(logits: NDArray[Any], reference: NDArray[Any], labels: Sequence[int], recheck: str) -> Answers:
    """Answers beside those of FP32 PyTorch."""
    chosen = logits.argmax(axis=1)
    return Answers(
        top1=float((chosen == np.asarray(labels)).mean()),
        others=float((chosen != reference.argmax(axis=1)).mean()),
        cosine=float(row_cosines(logits, reference).mean()),
        worst=max_error_of_range(logits, reference),
        recheck=recheck,
    )


def answer(path: Path, pictures: NDArray[np.uint8], reference: NDArray[Any], plan: Plan) -> Answers:
    """Runs a file over all pictures; one that is off from what it computed where it was proved too."""
    path, manifest = read_artifact(path)
    output = manifest.outputs[0].name
    session = open_session(manifest.runtime, path, isolated=False)
    try:
        recheck = rechecked(session, manifest, path.name)
        parts = []
        for start in range(0, len(pictures), _BATCH):
            batch = as_input(pictures[start : start + _BATCH], manifest.model.preprocess, manifest.input)
            parts.append(run_batches(session, batch)[output])
    finally:
        session.close()
    return compare(np.concatenate(parts).astype(np.float64), reference, plan.labels, recheck)


def rechecked(session: Session, manifest: Manifest, name: str) -> str:
    """How far a file is off from what it computed where it was proved, and how far it may be; or why it is refused."""
    try:
        found = check(session, manifest, name)
    except ArtifactError as error:
        return f"refused: {error}"
    return "not asked" if found is None or found.error is None else f"{found.error:.1e} of {found.limit:.1e}"


def proved(folder: Path, name: str, plan: Plan) -> Row:
    """A file built, answered and, on the GPU, timed alone."""
    path, manifest = read_artifact(folder / name)
    pictures, reference = np.load(folder / PICTURES, mmap_mode="r"), np.load(folder / LOGITS)
    if manifest.runtime != "tensorrt":
        return Row(file=name, answers=answer(path, pictures, reference, plan))
    engine = build_engine(path)
    how = "there already" if engine.cached else f"{engine.seconds:.0f} s"
    return Row(
        file=name,
        engine=f"{megabytes(engine.path.stat().st_size)}, {how}",
        answers=answer(path, pictures, reference, plan),
        alone=engine_milliseconds(engine.path),
        trtexec=trtexec_milliseconds(engine.path),
    )


def timed(rows: Sequence[Row], result: Benchmark) -> list[Row]:
    """The rows with the benchmark's times."""
    made = []
    for row, measured in zip(rows, result.devices[0].measured, strict=True):
        p50 = percentile(measured.model_summary, 0.5)
        call = measured.error or "unknown" if p50 is None else milliseconds(p50.ms, p50.interval)
        made.append(dataclasses.replace(row, call=call, backend=measured.backend or ""))
    return made


def measure(folder: Path, *, runs: int, rounds: int) -> list[Row]:
    """Everything, told as it comes; the table and the benchmark are left in the folder."""
    plan = read_plan(folder)
    os.environ["EDGECVX_CACHE"] = str(folder / "cache")  # engines, for the runner's processes too
    where = machine()
    print(where.sentence, flush=True)
    rows = []
    for name in plan.files:
        rows.append(proved(folder, name, plan))
        print(f"{name}: {rows[-1].answers}", flush=True)
    result = benchmark(
        [folder / name for name in plan.files], threads=[1], runs=runs, rounds=rounds, end_to_end=False, memory=False
    )
    rows = timed(rows, result)
    write_atomically(folder / LATENCY, as_json(result).encode())
    write_atomically(folder / TABLE, table(where, plan, rows).encode())
    return rows


def main(words: Sequence[str] | None = None) -> int:
    """Measures the folder that is named; 2 with one sentence where that cannot be."""
    (folder,) = map(Path, sys.argv[1:] if words is None else words)
    try:
        measure(folder, runs=RUNS, rounds=ROUNDS)
    except (EdgecvxError, OSError, ValueError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    print((folder / TABLE).read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
