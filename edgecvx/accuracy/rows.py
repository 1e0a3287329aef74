"""What is kept of each picture, a hundred bytes or two, and what all of them add up to.

A row holds everything a report needs of one picture, so that nothing as large as logits outlives its batch. Figures
over pictures are made from the rows alone: a run that was resumed and one that was not give the same report.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecvx.proof.metrics import row_cosines, row_divergences, row_powers, sqnr_db
from edgecvx.results.accuracy import (
    Answer,
    AnswerAgreement,
    ArtifactIdentity,
    ArtifactOutcome,
    ClassResult,
    Gate,
    Histogram,
    Loss,
    OutputAgreement,
    Quantile,
    ReferenceInfo,
    RunningDelta,
    Verdict,
)
from edgecvx.results.intervals import compare, judge, paired_interval
from edgecvx.runtimes.artifact import softmax

Array = NDArray[Any]
Name = Callable[[int], str]
"""The text for a class index."""

VERSION = 1
"""Of what a row means."""
TOP = 5
WHO = ("reference", "artifact")
NAMED_CLASSES = 20
NAMED_LOSSES = 20
NOTABLE_DROP = 0.01
"""A loss of probability below this is not worth showing unless the answer flipped."""
_RUNNING_POINTS = 60
_QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
_COSINE_EDGES = np.arange(-12.0, 0.75, 0.5)
_CONFIDENCE_EDGES = np.linspace(-1.0, 1.0, 41)

_OUTPUT = np.dtype(
    [("cosine", "<f8"), ("signal", "<f8"), ("noise", "<f8"), ("max_error", "<f8"), ("max_error_of_range", "<f8")]
)
_ANSWER = np.dtype(
    [
        ("reference_top", "<i4", (TOP,)),
        ("artifact_top", "<i4", (TOP,)),
        ("reference_first", "<f8"),  # the probability each gives to its own first class,
        ("artifact_first", "<f8"),
        ("artifact_at_reference", "<f8"),  # the artifact to the reference's first class,
        ("reference_at_truth", "<f8"),  # and both to the right one
        ("artifact_at_truth", "<f8"),
        ("divergence", "<f8"),
    ]
)


def row_type(outputs: int, *, classify: bool) -> np.dtype[Any]:
    """The type of a row for files of so many outputs."""
    fields: list[Any] = [("outputs", _OUTPUT, (outputs,))]
    return np.dtype([*fields, ("answer", _ANSWER)] if classify else fields)


def rows_of(
    actual: Sequence[Array], expected: Sequence[Array], truths: Sequence[int | None] | None
) -> NDArray[np.void]:
    """The rows of a batch.

    Args:
        actual: The artifact's outputs, in the reference's order and layout; finite.
        expected: The reference's.
        truths: The right class of each picture, or None in its place; None as a whole where this is no classifier.
    """
    rows = np.zeros(len(actual[0]), row_type(len(actual), classify=truths is not None))
    for i, (a, e) in enumerate(zip(actual, expected, strict=True)):
        out = rows["outputs"][:, i]
        out["cosine"] = row_cosines(a, e)
        out["signal"], out["noise"] = row_powers(a, e)
        errors = np.abs(a.astype(np.float64) - e).reshape(len(a), -1).max(axis=1)
        spread = np.ptp(e.reshape(len(e), -1).astype(np.float64), axis=1)
        out["max_error"] = errors
        # A constant output has no range; then the error is told in units of the smallest one there is, not hidden.
        out["max_error_of_range"] = errors / np.maximum(spread, np.finfo(np.float32).tiny)
    if truths is not None:
        rows["answer"] = _answers(actual[0], expected[0], truths)
    return rows


def _answers(actual: Array, expected: Array, truths: Sequence[int | None]) -> NDArray[np.void]:
    answers = np.zeros(len(actual), _ANSWER)
    each = np.arange(len(actual))
    top = {}
    for who, logits in (("artifact", actual), ("reference", expected)):
        top[who] = np.argsort(-logits.astype(np.float64), axis=1, kind="stable")[:, :TOP]
        answers[f"{who}_top"] = -1
        answers[f"{who}_top"][:, : top[who].shape[1]] = top[who]
        chances = softmax(logits.astype(np.float64))
        answers[f"{who}_first"] = chances[each, top[who][:, 0]]
        answers[f"{who}_at_truth"] = [0.0 if t is None else row[t] for t, row in zip(truths, chances, strict=True)]
    answers["artifact_at_reference"] = softmax(actual.astype(np.float64))[each, top["reference"][:, 0]]
    answers["divergence"] = row_divergences(actual, expected)
    return answers


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureAnswers:
    """Picture by picture, what a report only counts: who was right."""

    artifact: str
    """The hash over its files."""
    pictures: tuple[str, ...]
    """Names, in the order they were run in."""
    right: NDArray[np.bool_]
    """Whether the artifact's first class was the right one."""
    reference_right: NDArray[np.bool_]


def picture_answers(
    rows: Array, identity: ArtifactIdentity, pictures: Sequence[str], truths: Sequence[int | None]
) -> PictureAnswers:
    """Who was right on each picture."""
    wanted = np.array([-2 if truth is None else truth for truth in truths])
    right = {who: rows["answer"][f"{who}_top"][:, 0] == wanted for who in WHO}
    return PictureAnswers(
        artifact=identity.sha256,
        pictures=tuple(pictures),
        right=right["artifact"],
        reference_right=right["reference"],
    )


def summarize(
    rows: Array,
    *,
    identity: ArtifactIdentity,
    reference: ReferenceInfo,
    outputs: Sequence[str],
    pictures: Sequence[str],
    truths: Sequence[int | None] | None,
    classes: int,
    class_name: Name,
    rule: Gate,
) -> ArtifactOutcome:
    """What the rows of an artifact add up to.

    Args:
        rows: One for each picture, in the order they were run in.
        identity: The artifact.
        reference: What it was compared with.
        outputs: The names of its outputs.
        pictures: The pictures' names.
        truths: Their right classes; None where there is no right and wrong.
        classes: How many there are.
        class_name: The text for one.
        rule: What has to be reached.
    """
    outcome = ArtifactOutcome(
        identity=identity,
        verdict=Verdict(kind="none", reason=f"task {identity.task.value} has no top-1: outputs are compared only"),
        pictures=len(rows),
        reference=reference,
        outputs=tuple(output_agreement(name, rows["outputs"][:, i]) for i, name in enumerate(outputs)),
    )
    if "answer" not in (rows.dtype.names or ()):
        return outcome
    answers = rows["answer"]
    outcome = replace(
        outcome,
        verdict=Verdict(kind="none", reason="no labels that this network knows: answers are compared only"),
        answers=answer_agreement(answers),
        losses=losses(answers, pictures, truths, class_name),
    )
    if truths is None:
        return outcome
    of_pictures = np.array(truths, np.int64)
    reference_right, artifact_right = (_right(answers[f"{who}_top"], of_pictures, 1) for who in WHO)
    in_five = [_right(answers[f"{who}_top"], of_pictures, TOP) for who in WHO]
    top1 = compare(reference_right, artifact_right, top=1)
    return replace(
        outcome,
        verdict=judge(top1, rule),
        top1=top1,
        top5=compare(in_five[0], in_five[1], top=TOP) if classes > TOP else None,
        running=running(reference_right, artifact_right),
        worst_classes=worst_classes(of_pictures, reference_right, artifact_right, class_name),
    )


def _right(tops: Array, truths: NDArray[np.int64], top: int) -> NDArray[np.bool_]:
    """For each picture, whether the right class is among the first ``top``."""
    return np.asarray((tops[:, :top] == truths[:, None]).any(axis=1))


def output_agreement(name: str, rows: Array) -> OutputAgreement:
    """One output over all pictures."""
    noisy = rows[rows["noise"] > 0]
    decibels = [sqnr_db(float(r["signal"]), float(r["noise"])) for r in noisy]
    return OutputAgreement(
        name=name,
        cosine_mean=float(rows["cosine"].mean()),
        cosine_min=float(rows["cosine"].min()),
        cosine_quantiles=_quantiles(rows["cosine"]),
        cosine_histogram=_histogram(np.log10(np.clip(1 - rows["cosine"], 1e-12, None)), _COSINE_EDGES),
        sqnr_db=sqnr_db(float(rows["signal"].sum()), float(rows["noise"].sum())),
        sqnr_quantiles=_quantiles(np.array(decibels, np.float64)),
        max_error=float(rows["max_error"].max()),
        max_error_of_range=float(rows["max_error_of_range"].max()),
    )


def answer_agreement(answers: Array) -> AnswerAgreement:
    """The answers of two classifiers over all pictures."""
    same = int(np.count_nonzero(answers["reference_top"][:, 0] == answers["artifact_top"][:, 0]))
    return AnswerAgreement(
        same=same,
        flips=len(answers) - same,
        kl_mean=float(answers["divergence"].mean()),
        kl_max=float(answers["divergence"].max()),
        confidence_histogram=_histogram(
            answers["artifact_at_reference"] - answers["reference_first"], _CONFIDENCE_EDGES
        ),
    )


def running(reference_right: NDArray[np.bool_], artifact_right: NDArray[np.bool_]) -> tuple[RunningDelta, ...]:
    """The delta as it settles, over beginnings of the run."""
    total = len(reference_right)
    lost = np.cumsum(reference_right & ~artifact_right)
    gained = np.cumsum(~reference_right & artifact_right)
    ends = sorted({int(n) for n in np.linspace(max(1, total // _RUNNING_POINTS), total, _RUNNING_POINTS)})
    return tuple(
        RunningDelta(
            pictures=n,
            delta=float(gained[n - 1] - lost[n - 1]) / n,
            interval=paired_interval(float(lost[n - 1]), float(gained[n - 1]), n),
        )
        for n in ends
    )


def worst_classes(
    truths: NDArray[np.int64], reference_right: NDArray[np.bool_], artifact_right: NDArray[np.bool_], name: Name
) -> tuple[ClassResult, ...]:
    """The classes that lost most pictures, net of gains; of equals the smaller one."""
    results = []
    for index in np.unique(truths):
        of_class = truths == index
        r, a = reference_right[of_class], artifact_right[of_class]
        if int(r.sum()) > int(a.sum()):
            results.append(
                ClassResult(
                    index=int(index),
                    label=name(int(index)),
                    pictures=len(r),
                    reference_correct=int(r.sum()),
                    artifact_correct=int(a.sum()),
                    lost=int((r & ~a).sum()),
                    gained=int((~r & a).sum()),
                )
            )
    return tuple(sorted(results, key=lambda c: (c.gained - c.lost, c.pictures, c.index))[:NAMED_CLASSES])


def losses(
    answers: Array, pictures: Sequence[str], truths: Sequence[int | None] | None, name: Name
) -> tuple[Loss, ...]:
    """The pictures that lost most: first those whose answer went from right to wrong, then by probability."""
    if truths is not None:
        indices = np.array([-1 if t is None else t for t in truths])
        flipped = _right(answers["reference_top"], indices, 1) & ~_right(answers["artifact_top"], indices, 1)
        drops = answers["reference_at_truth"] - answers["artifact_at_truth"]
    else:
        flipped = answers["reference_top"][:, 0] != answers["artifact_top"][:, 0]
        drops = answers["reference_first"] - answers["artifact_at_reference"]
    notable = [int(i) for i in np.flatnonzero(flipped | (drops >= NOTABLE_DROP))]
    order = sorted(notable, key=lambda i: (not flipped[i], -drops[i], pictures[i]))[:NAMED_LOSSES]
    return tuple(
        _loss(answers[i], pictures[i], None if truths is None else truths[i], float(drops[i]), name) for i in order
    )


def _loss(answer: Any, picture: str, truth: int | None, drop: float, name: Name) -> Loss:
    first = {who: int(answer[f"{who}_top"][0]) for who in WHO}
    reference, artifact = (
        Answer(index=index, label=name(index), probability=float(answer[f"{who}_first"]))
        for who, index in first.items()
    )
    return Loss(
        picture=picture,
        truth=truth,
        truth_label=None if truth is None else name(truth),
        reference=reference,
        artifact=artifact,
        drop=drop,
    )


def _quantiles(values: NDArray[np.float64]) -> tuple[Quantile, ...]:
    if not len(values):
        return ()
    found = np.quantile(values, _QUANTILES)
    return tuple(Quantile(q=q, value=float(v)) for q, v in zip(_QUANTILES, found, strict=True))


def _histogram(values: NDArray[np.float64], edges: NDArray[np.float64]) -> Histogram:
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    return Histogram(edges=tuple(round(float(e), 6) for e in edges), counts=tuple(int(c) for c in counts))
