"""Searches with limits drawn at random, and what they claim held to what everything says.

What a winner loses is judged on pictures that neither calibration nor predictions nor race saw; its time, and whether
something is better, by everything that was measured. A claim is wrong where intervals leave no doubt of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from recorded import Recorded, at_most
from reduced import Reduced
from search import candidate_of, in_points
from truth import Truth

import edgecvx
from edgecvx.tune.field import Field
from edgecvx.tune.race.limits import Limits, in_words
from edgecvx.tune.report.values import Ending, Tuned

KINDS = (("max_drop",), ("max_p50",), ("max_drop", "max_p50"), ("max_drop", "max_mb"))
"""Of the limits of each seed's runs."""
RACING = 2 / 3
"""Of the recorded pictures: other ones for each seed."""
REAL_PICTURES = 2048
"""That a race may use which is really run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One run."""

    seed: int
    number: int
    targets: tuple[str, ...]
    limits: Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run claimed, and what is true of it."""

    asked: Asked
    ending: Ending
    file: str | None
    """By its name in everything."""
    wrong: str | None
    """Why what was claimed is certainly not so."""
    held: Truth | None
    """What is known of that file, with its answers on held-out pictures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """Pictures that only winners answer."""

    where: Field
    pictures: int

    def of(self, name: str, truth: Truth) -> Truth:
        """What is known of a file, with its answers on these."""
        answers = self.where.validate(name, self.pictures)
        if answers.error:
            raise SystemExit(f"{name}: {answers.error}")
        return Truth(known=replace(truth.known, answers={name: answers}))


def drawn(truth: Truth, seed: int, number: int) -> Asked:
    """Limits somewhere within what the files of some targets offer."""
    chance = np.random.default_rng([seed, number])
    every = sorted({c.target for c in truth.known.candidates.values()})
    targets = tuple(t for t in every if chance.random() < 0.6) or tuple(every)
    left = truth.only(targets)
    drops = [100 * left.drop(n) for n in left.names]
    times, sizes = [left.ms(n) for n in left.names], [left.known.bytes[n] / 1e6 for n in left.names]
    values = {
        "max_drop": float(chance.uniform(0.2, max(drops))),
        "max_p50": float(np.exp(chance.uniform(np.log(min(times)), np.log(max(times))))),
        "max_mb": float(chance.uniform(min(sizes), max(sizes))),
    }
    kinds = KINDS[number % len(KINDS)]
    limits = Limits(**{kind: float(f"{values[kind]:.3g}") for kind in kinds})
    return Asked(seed=seed, number=number, targets=targets, limits=limits)


def run(reduced: Reduced, asked: Asked, truth: Truth, held: HeldOut, *, real: bool, budget: float) -> Outcome:
    """Searches, and judges what comes of it."""
    folder = held.where.workshop.request.out
    out = folder / "runs" / f"{asked.seed}{' real' if real else ''}"
    _share_files(folder, out)
    order = np.random.default_rng([asked.seed, 7]).permutation(truth.pictures)
    racing = order[: int(RACING * len(order))]
    recorded = Recorded(truth=truth, pictures=racing, seed=1000 * asked.seed + asked.number)
    with reduced.alone(), at_most(REAL_PICTURES) if real else recorded.instead():
        asking: dict[str, Any] = {**reduced.asked(), "target": asked.targets, "budget": budget, "seed": asked.seed}
        asking |= {str(kind): limit for kind, limit in asked.limits.named.items()}
        tuned: Tuned = edgecvx.tune(**asking, out=out)
    return judge(asked, tuned, truth.only(asked.targets), held)


def _share_files(folder: Path, out: Path) -> None:
    """What is the same file by its content is not written again."""
    (out / "work").mkdir(parents=True, exist_ok=True)
    for name in ("files", "plans"):
        if not (out / "work" / name).exists():
            (out / "work" / name).symlink_to((folder / "work" / name).resolve())


def judge(asked: Asked, tuned: Tuned, truth: Truth, held: HeldOut) -> Outcome:
    """Holds what a search claims to everything that was measured."""
    (device,) = tuned.devices
    rows = {row.name: row for row in device.rows}
    file = None if device.ending.file is None else truth.name(candidate_of(rows[device.ending.file]))
    of_file = held.of(file, truth) if file is not None and device.ending.kind != "impossible" else None
    wrong = fault(device.ending, file, truth, asked.limits, of_file)
    return Outcome(asked=asked, ending=device.ending, file=file, wrong=wrong, held=of_file)


def fault(ending: Ending, file: str | None, truth: Truth, limits: Limits, held: Truth | None = None) -> str | None:
    """What is certainly wrong with an end; an undecided one claims nothing.

    Args:
        ending: What is claimed.
        file: The file it is about, by its name in everything.
        truth: Everything.
        limits: What was asked for.
        held: What is known of that file, where that is by other pictures.
    """
    if ending.kind == "impossible":
        keeping = [n for n in truth.names if truth.surely_keeps(n, limits)]
        return f"{keeping[0]} keeps all limits" if keeping else None
    if ending.kind != "decided" or file is None:
        return None
    if broken := (held or truth).surely_breaks(file, limits):
        return "it breaks " + " and ".join(in_words(kind, limits.named[kind] or 0.0) for kind in broken)
    better = truth.surely_better(file, limits)
    return f"{better[0]} is better" if better else None


def line(outcome: Outcome, *, real: bool) -> str:
    """A row of the table."""
    asked, file, held = outcome.asked, outcome.file, outcome.held
    cells = [
        f"{asked.seed}.{asked.number}{' (real)' if real else ''}",
        ", ".join(asked.targets),
        ", ".join(in_words(kind, value) for kind, value in asked.limits.named.items() if value is not None),
        outcome.ending.kind,
        file or "",
        "" if file is None or held is None else f"{held.ms(file):.2f} ms",
        "" if file is None or held is None else f"{-100 * held.drop(file):+.2f} {in_points(held.change(file))}",
        outcome.wrong or "",
    ]
    return f"| {' | '.join(cells)} |"


COLUMNS = ("run", "targets", "limits", "end", "file", "p50", "change on held-out pictures", "wrong")
HEAD = f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|"


def _surely_breaks(outcome: Outcome) -> bool:
    held, file = outcome.held, outcome.file
    return held is not None and file is not None and bool(held.surely_breaks(file, outcome.asked.limits))


def summary(outcomes: Sequence[Outcome]) -> str:
    """How often the claims are right."""
    ends = {kind: [o for o in outcomes if o.ending.kind == kind] for kind in ("decided", "impossible", "undecided")}
    claims = [*ends["decided"], *ends["impossible"]]
    broken = [o for o in ends["decided"] if _surely_breaks(o)]
    led = [o for o in ends["undecided"] if o.held is not None and not _surely_breaks(o)]
    return (
        f"{len(outcomes)} runs: {', '.join(f'{len(found)} {kind}' for kind, found in ends.items())}; "
        f"{len(broken)} winners of {len(ends['decided'])} break a limit on held-out pictures, "
        f"{sum(o.wrong is not None for o in claims)} of {len(claims)} claims are wrong; of {len(ends['undecided'])} "
        f"files that were best by what was known {len(led)} keep their limits"
    )
