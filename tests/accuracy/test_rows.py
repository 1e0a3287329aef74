"""What is kept of a picture, and what the rows add up to, on tables small enough to be counted by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgecvx.accuracy import rows as picture_rows
from edgecvx.accuracy.rows import losses, output_agreement, rows_of, running, worst_classes

YES, NO = True, False


def named(index: int) -> str:
    return f"class {index}"


def logits(*answers: int, classes: int = 8, strength: float = 2.0) -> Any:
    """Rows that put these classes first."""
    return strength * np.eye(classes, dtype=np.float32)[list(answers)]


def test_equal_logits_rank_by_index_for_both_sides_alike() -> None:
    """INT8 logits are often equal; what breaks the tie must not be the sort."""
    rows = rows_of([np.zeros((1, 8), np.float32)], [np.zeros((1, 8), np.float32)], [0])
    assert rows["answer"]["artifact_top"].tolist() == rows["answer"]["reference_top"].tolist() == [[0, 1, 2, 3, 4]]


def test_fewer_classes_than_five_leave_places_empty() -> None:
    rows = rows_of([logits(1, classes=3)], [logits(2, classes=3)], [2])
    assert rows["answer"]["reference_top"][0].tolist() == [2, 0, 1, -1, -1]


def test_exactly_the_same_output_has_no_noise() -> None:
    found = output_agreement("logits", rows_of([logits(1, 2)], [logits(1, 2)], [1, 2])["outputs"][:, 0])
    assert found.sqnr_db is None and found.sqnr_quantiles == () and found.max_error == 0.0
    assert found.cosine_min == pytest.approx(1.0) and found.cosine_histogram.counts[0] == 2


def test_noise_of_a_tenth_is_20_db() -> None:
    expected = np.array([[3.0, 4.0], [0.0, 5.0]], np.float32)
    found = output_agreement("maps", rows_of([1.1 * expected], [expected], None)["outputs"][:, 0])
    assert found.sqnr_db == pytest.approx(20.0, abs=1e-4) and found.cosine_mean == pytest.approx(1.0)
    assert found.max_error == pytest.approx(0.5, rel=1e-5) and found.max_error_of_range == pytest.approx(0.4, rel=1e-5)


def test_everything_is_in_some_bin() -> None:
    rows = rows_of([-logits(1, 2, 3)], [logits(1, 2, 3)], [1, 2, 3])
    assert sum(output_agreement("logits", rows["outputs"][:, 0]).cosine_histogram.counts) == 3
    assert sum(picture_rows.answer_agreement(rows["answer"]).confidence_histogram.counts) == 3


def test_the_running_delta_ends_at_the_whole_and_never_skips_the_end() -> None:
    reference, artifact = np.array([YES] * 130), np.array([NO] + [YES] * 129)
    points = running(reference, artifact)
    assert points[-1].pictures == 130 and points[-1].delta == pytest.approx(-1 / 130)
    assert [p.pictures for p in points] == sorted({p.pictures for p in points}) and len(points) <= 60
    assert running(reference[:1], artifact[:1])[0].delta == -1.0


def test_the_worst_classes_are_those_that_lost_net() -> None:
    truths = np.array([0, 0, 0, 1, 1, 1, 2, 2])
    reference = np.array([YES, YES, YES, YES, NO, YES, YES, YES])
    artifact = np.array([NO, NO, YES, NO, YES, YES, YES, YES])
    (worst,) = worst_classes(truths, reference, artifact, named)
    assert (worst.index, worst.label, worst.lost, worst.gained, worst.pictures) == (0, "class 0", 2, 0, 3)


def test_the_biggest_losses_are_wrong_answers_before_weak_ones() -> None:
    reference = np.concatenate([logits(1, 2, 3), logits(4, strength=9.0)])
    artifact = np.concatenate([logits(1), logits(5), 0.9 * logits(3), logits(4, strength=3.0)])
    answers = rows_of([artifact], [reference], [1, 2, 3, 4])["answer"]
    found = losses(answers, ["same", "flipped", "hardly weaker", "much weaker"], [1, 2, 3, 4], named)
    assert [loss.picture for loss in found] == ["flipped", "much weaker", "hardly weaker"]
    assert (found[0].reference.index, found[0].artifact.index, found[0].truth_label) == (2, 5, "class 2")
    assert found[0].drop == pytest.approx(np.exp(2) / (np.exp(2) + 7) - 1 / (np.exp(2) + 7), rel=1e-6)


def test_a_gain_is_no_loss() -> None:
    answers = rows_of([logits(1)], [logits(2)], [1])["answer"]
    assert losses(answers, ["gained"], [1], named) == ()
    assert [loss.picture for loss in losses(answers, ["flipped"], None, named)] == ["flipped"], "without labels it is"


def test_a_row_is_small() -> None:
    assert picture_rows.row_type(1, classify=True).itemsize < 200
