"""How fast a validation was is told from its own words."""

from __future__ import annotations

from edgecvx.accuracy.validate import Progress
from edgecvx.cli.validate import Pace


def paced(*words: tuple[float, int, int, int]) -> str | None:
    now = iter([at for at, *_ in words])
    pace = Pace(clock=lambda: next(now))
    for _, index, done, known in words:
        pace.note(Progress(artifact="a", index=index, artifacts=2, done=done, total=100, known=known))
    return pace.sentence


def test_pictures_that_were_known_count_for_nothing() -> None:
    assert paced((0, 0, 60, 60), (1, 0, 80, 60), (4, 0, 100, 60)) == "40 pictures in 4.0 s: 10 a second"


def test_several_files_are_counted_together() -> None:
    words = ((0, 0, 0, 0), (5, 0, 100, 0), (5, 1, 0, 0), (10, 1, 100, 0))
    assert paced(*words) == "200 pictures through 2 files in 10.0 s: 20 a second"


def test_a_validation_that_was_known_has_no_speed() -> None:
    assert paced((0, 0, 100, 100), (1, 1, 100, 100)) is None
