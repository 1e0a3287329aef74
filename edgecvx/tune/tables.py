"""The table that every stage leaves: ``OUT/stages/NAME.csv``, for whoever wants to see what it saw."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgecvx.files import write_atomically
from edgecvx.results.accuracy import Interval
from edgecvx.tune.race.race import Race
from edgecvx.tune.space import Candidate

if TYPE_CHECKING:
    from edgecvx.tune.refine import Refinement


def write(out: Path, name: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Writes one table."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    file = re.sub(r"[^\w.+-]+", "-", name)
    write_atomically(out / "stages" / f"{file}.csv", text.getvalue().encode("utf-8", "backslashreplace"))


def write_race(out: Path, device: str, run: Race) -> None:
    """Every look of a race."""
    header = ("look", "pictures", "turns", "validated", "timed", "seconds", "leader", "settled", "open")
    rows = [
        (
            look.number,
            look.pictures,
            look.rounds,
            "; ".join(look.validated),
            "; ".join(look.timed),
            f"{look.seconds:.1f}",
            look.leader or "",
            "; ".join(look.settled),
            look.open,
        )
        for look in run.looks
    ]
    write(out, f"race {device}", header, rows)


def write_blocks(out: Path, refinement: Refinement) -> None:
    """What each decision costs, and the model of milliseconds."""
    effects = [
        (e.decision, e.option, f"{e.energy:.6g}", f"{e.alone.energy:.6g}", f"{e.among.energy:.6g}", e.adds_up)
        for e in refinement.loss.effects
    ]
    name = refinement.plain.title
    write(out, f"answers by block {name}", ("decision", "option", "energy", "alone", "among", "adds up"), effects)
    terms = [
        (
            t.name,
            f"{t.ms:.5f}",
            f"{t.interval.low:.5f}" if t.interval else "",
            f"{t.interval.high:.5f}" if t.interval else "",
        )
        for t in refinement.cost.terms
    ]
    write(out, f"times by block {name}", ("term", "ms", "low", "high"), terms)


def _ends(interval: Interval | None) -> tuple[str, str]:
    return ("", "") if interval is None else (f"{interval.low:.5f}", f"{interval.high:.5f}")


def short_name(candidate: Candidate, taken: Mapping[str, Candidate]) -> str:
    """A candidate's name in a race: its title, or where it was decided block by block, a short one of its own."""
    if not candidate.decisions:
        return candidate.title
    words = candidate.title.partition(" (")[0] + (f" x{candidate.threads}" if candidate.threads is not None else "")
    own = f"{words} mixed"
    for number in range(1, len(taken) + 2):
        name = f"{own} {number}"
        if name not in taken or taken[name] == candidate:
            return name
    return candidate.title
