"""A program with a network in it, for a board that has room for nothing else."""

from __future__ import annotations

from small_program import MOST, OPTIMIZED, SOURCE, line

from edgecvx.native.build import FLAGS
from edgecvx.native.sources import ENGINE


def test_a_program_and_its_model_take_six_megabytes_together() -> None:
    assert line("-Os", 211_360, 5_344_000) == "| `-Os` | 0.21 MB | 5.34 MB | 5.56 MB |"
    assert line("-O3", MOST - 5_344_000 + 1, 5_344_000).endswith("| 6.00 MB, more than 6 MB |")


def test_what_is_built_is_the_example_with_the_whole_engine_in_it() -> None:
    assert SOURCE.is_file() and (ENGINE / "all.c").is_file()
    assert set(OPTIMIZED) == {"-Os", "-O3"} and "-O3" in FLAGS
