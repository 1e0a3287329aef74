"""Each kernel alone against float64, on every set of kernels that this processor has; broken ones are noticed."""

from __future__ import annotations

from pathlib import Path

import native_programs as programs
import numpy as np
import pytest
from native_kernels import all_cases, extreme_sums, faults, kernels_of
from native_programs import THIS


@pytest.fixture(autouse=True)
def compiler() -> None:
    if not programs.here():
        pytest.skip("there is no C compiler")


def test_sums_of_integers_are_exact_and_everything_else_is_near_for_any_shape() -> None:
    cases = all_cases(seed=1, count=40)
    assert [fault for kernels in kernels_of(THIS) for fault in faults(THIS, kernels, cases)] == []


def test_the_largest_sums_of_all_are_among_what_is_asked() -> None:
    """255 times 128 in each of 4096 places, which is more than 16 bits hold after two."""
    names = [case.name for case in extreme_sums(np.random.default_rng(0))]
    assert len(names) == 24 and sum("x 1*4096 x" in name for name in names) == 8


BROKEN = {
    "a zero point": ("algorithm.h", "(-total * (l->zero", "(-total * (1 + l->zero", "sums"),
    "a weight's place": ("algorithm.h", "k = s * pitch + i, value", "k = s * pitch + i / 2, value", "sums"),
    "a bias": ("algorithm.h", "(out + n * V) + bias[n]", "(out + n * V) + bias[0]", "added"),
    "the rounding of a product": ("path_portable.h", "4000) >> 15) + z", "3fff) >> 15) + z", "hidden numbers scaled"),
    "the largest int8": ("path_portable.h", "-128.0f, 127.0f", "-128.0f, 126.0f", "rounded"),
    "a depthwise pixel": ("algorithm.h", "i - k >= 0 && i - k < t", "i - k > 0 && i - k < t", "depthwise"),
    "rows of zeros below": ("algorithm.h", "(rows - below - y, count)", "(rows - below - 1 - y, count)", "depthwise"),
    "the zeros beside a map": ("algorithm.h", "(right ? border : 0)", "(right ? border + 1 : 0)", "depthwise"),
    "GELU's last coefficient": ("network.c", "2.4435738765760107e-08f", "2.6e-08f", "gelu into floats"),
    "GELU's last coefficient in 16 bits": ("network.c", "-22110, 11854", "-22110, 12454", "gelu into integers"),
    "a square": ("algorithm.h", "P(alone)(h * h)", "h", "gelu into floats"),
    "a square in 16 bits": ("path_portable.h", "(int32_t)g[i] * g[i]", "(int32_t)g[i] * g[0]", "gelu into integers"),
}  # fmt: skip
"""File, what stands there, what shall, and the case in which it has to be noticed."""


@pytest.mark.parametrize("name", BROKEN)
def test_a_kernel_with_one_thing_changed_is_noticed(tmp_path: Path, name: str) -> None:
    source, right, wrong, case = BROKEN[name]
    folder = programs.broken(tmp_path, source, right, wrong)
    machine = programs.portable()
    found = faults(machine, "portable", all_cases(seed=2, count=20), folder=folder)
    assert any(case in fault for fault in found), found


def test_the_same_kernels_unbroken_are_not() -> None:
    assert faults(programs.portable(), "portable", all_cases(seed=2, count=20)) == []
