"""The reduced space searched by ``tune`` as it is, and the front it draws held to that of everything."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from counting import Counts, counted, drawn_once
from reduced import Reduced
from truth import Truth

import edgecvx
from edgecvx.files import write_atomically
from edgecvx.results.accuracy import Interval
from edgecvx.spec import Precision, from_json, to_json
from edgecvx.tune.field import RUNS_A_TURN
from edgecvx.tune.report.values import Row, Tuned
from edgecvx.tune.space import Candidate

FIFTH = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """What a search drew, and what it took."""

    front: tuple[Candidate, ...]
    raced: int
    counts: Counts


def search(reduced: Reduced, out: Path, *, seed: int, budget: float) -> Searched:
    """Searches the space without limits: the front is what is asked for. One that was done is not done again."""
    place = out / "searched.json"
    if not place.exists():
        with reduced.alone(), drawn_once(), counted() as counts:
            tuned: Tuned = edgecvx.tune(**reduced.asked(), budget=budget, out=out, seed=seed)
        (device,) = tuned.devices
        rows = {row.name: row for row in device.rows}
        found = {
            "front": [to_json(candidate_of(rows[name])) for name in device.ending.front],
            "raced": sum(row.rounds > 0 for row in device.rows),
            "counts": counts.kept(),
        }
        write_atomically(place, json.dumps(found, indent=1).encode())
    kept = json.loads(place.read_text(encoding="utf-8"))
    return Searched(
        front=tuple(from_json(Candidate, candidate) for candidate in kept["front"]),
        raced=kept["raced"],
        counts=Counts(**kept["counts"]),
    )


def candidate_of(row: Row) -> Candidate:
    """What a row of a report is about."""
    return Candidate(
        model=row.model,
        size=row.size,
        target=row.target,
        precision=Precision(row.precision),
        decisions=row.decisions,
        threads=row.threads,
    )


def faults(front: Sequence[str], truth: Truth) -> list[str]:
    """What is certainly wrong with a front."""
    beaten = {name: by for name in front if (by := truth.surely_beaten(name)) is not None}
    found = [f"{name} is on the front, and {by} is faster and more often right" for name, by in beaten.items()]
    return found + [
        f"{name} is missing: it offers what no file of the front does" for name in truth.surely_missing(front)
    ]


def table(front: Sequence[str], truth: Truth) -> list[str]:
    """The front by everything that was measured, beside the one that was found."""
    lines = [
        "| file | p50 | top-1 | change against FP32 | by everything | by the search |",
        "|---|---|---|---|---|---|",
    ]
    true = truth.front()
    for name in sorted({*true, *front}, key=truth.ms):
        change, ms = truth.change(name), truth.ms_interval(name)
        lines.append(
            f"| {name} | {truth.ms(name):.2f} ms [{ms.low:.2f}, {ms.high:.2f}] | {100 * truth.top1(name):.2f}% "
            f"| {-100 * truth.drop(name):+.2f} {in_points(change)} "
            f"| {'front' if name in true else ''} | {'front' if name in front else ''} |"
        )
    return lines


def in_points(change: Interval) -> str:
    """An interval of a change of top-1."""
    return f"[{100 * change.low:+.2f}, {100 * change.high:+.2f}]"


def shares(counts: Counts, truth: Truth) -> list[str]:
    """What the search took, beside what everything did."""
    lines = ["| | everything | the search | |", "|---|---|---|---|"]
    files, turns = len(truth.names), sum(len(truth.known.timings[name].rounds) for name in truth.names)
    for what, whole, ours in (
        ("files written", files, counts.files),
        ("pictures through files", files * truth.pictures, counts.pictures),
        ("turns of files", turns, counts.turns),
        (
            "inferences of both",
            files * truth.pictures + RUNS_A_TURN * turns,
            counts.pictures + RUNS_A_TURN * counts.turns,
        ),
    ):
        lines.append(f"| {what} | {whole:,} | {ours:,} | {100 * ours / whole:.0f}% |")
    return lines
