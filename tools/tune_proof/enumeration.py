"""Every file of a reduced space, written, timed and validated: what ``tune`` is held to.

It can be stopped at any time and goes on where it was: files, turns and answers lie below the folder, by content.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from reduced import Reduced

from edgecvx.files import write_atomically
from edgecvx.spec import from_json, to_json
from edgecvx.tune.field import Field
from edgecvx.tune.pictures import open_pictures
from edgecvx.tune.race.measured import Answers, Timing
from edgecvx.tune.request import read_models
from edgecvx.tune.space import Candidate
from edgecvx.tune.workshop import Workshop

MEASURED_ON, HELD_OUT = 1000, 2000
"""Seeds of the pictures that all files answer, and of those that winners are judged by; no search has them, and drawn
pictures of two seeds are never the same."""
STEP = 1000
"""Pictures, after which what is known is kept."""
TURNS = 40
"""Likewise, of every file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """All that was measured so far."""

    candidates: Mapping[str, Candidate]
    same: Mapping[str, str]
    """A mixture's key -> the plain file it comes to."""
    bytes: Mapping[str, int]
    timings: Mapping[str, Timing]
    answers: Mapping[str, Answers]
    """All of the same pictures."""


def opened(reduced: Reduced, folder: Path, seed: int = MEASURED_ON) -> Field:
    """Who writes and measures; its candidates are all files of the space."""
    request = reduced.request(folder, seed=seed)
    models, _ = read_models(request)
    workshop = Workshop(request=request, models={m.name: m for m in models})
    where = Field(workshop=workshop, pictures=open_pictures(request, models), devices=("local",))
    place = folder / "space.json"
    if not place.exists():
        found, same = reduced.files(workshop)
        kept = {"files": {name: to_json(c) for name, c in found.items()}, "same": same}
        write_atomically(place, json.dumps(kept, indent=1).encode())
    where.candidates.update(_listed(folder)[0])
    return where


def _listed(folder: Path) -> tuple[dict[str, Candidate], dict[str, str]]:
    kept = json.loads((folder / "space.json").read_text(encoding="utf-8"))
    return {name: from_json(Candidate, c) for name, c in kept["files"].items()}, kept["same"]


def write_all(where: Field) -> None:
    """Writes every file."""
    for number, candidate in enumerate(where.candidates.values()):
        where.workshop.write([candidate])
        print(f"  {number + 1} of {len(where.candidates)} written: {candidate.title}", flush=True)
    if where.workshop.failed:
        raise SystemExit("; ".join(where.workshop.failed.values()))
    sizes = {name: where.workshop.file(c).bytes for name, c in where.candidates.items()}
    write_atomically(where.workshop.request.out / "bytes.json", json.dumps(sizes, indent=1).encode())


def validate_all(where: Field, pictures: int, sizes: Sequence[int]) -> None:
    """Runs so many pictures through every file of these sizes; two sizes can be left to two processes."""
    folder = where.workshop.request.out / "answers"
    folder.mkdir(exist_ok=True)
    for upto in [*range(STEP, pictures, STEP), pictures] if pictures else []:
        for name, candidate in where.candidates.items():
            if candidate.size in sizes:
                answers = where.validate(name, upto)
                if answers.error:
                    raise SystemExit(f"{name}: {answers.error}")
                np.savez(folder / f"{candidate.key}.npz", right=answers.right, reference=answers.reference)
        print(f"  {upto} pictures through every file of {', '.join(map(str, sizes))}", flush=True)


def time_all(where: Field, turns: int) -> None:
    """Has every file take so many turns."""
    place, timings = where.workshop.request.out / "times.json", dict[str, Timing]()
    for upto in range(TURNS, turns + 1, TURNS):
        for name, timing in where.bench(list(where.candidates), TURNS).items():
            if timing.error:
                raise SystemExit(f"{name}: {timing.error}")
            before = timings.get(name, timing)
            timings[name] = Timing(rounds={**before.rounds, **timing.rounds}, least={**before.least, **timing.least})
        write_atomically(place, json.dumps({name: to_json(t) for name, t in timings.items()}).encode())
        print(f"  {upto} turns of every file", flush=True)


def known(folder: Path) -> Known:
    """What lies in a folder; the pictures are those that every file answered."""
    candidates, same = _listed(folder)
    timings = json.loads((folder / "times.json").read_text(encoding="utf-8"))
    answers = {name: _answers(folder / "answers" / f"{c.key}.npz") for name, c in candidates.items()}
    shared = min(len(a.right) for a in answers.values())
    return Known(
        candidates=candidates,
        same=same,
        bytes=json.loads((folder / "bytes.json").read_text(encoding="utf-8")),
        timings={name: Timing(rounds=_turns(t["rounds"]), least=_turns(t["least"])) for name, t in timings.items()},
        answers={n: Answers(right=a.right[:shared], reference=a.reference[:shared]) for n, a in answers.items()},
    )


def _answers(path: Path) -> Answers:
    with np.load(path) as found:
        return Answers(right=found["right"], reference=found["reference"])


def _turns(turns: Mapping[str, float]) -> dict[int, float]:
    return {int(number): ms for number, ms in turns.items()}
