"""The same networks on processors that this machine is not: emulated, and in WebAssembly.

``make native-proof`` asks them about real networks; here are small ones, and each kernel alone.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
from ecvx_networks import image_of, random_description
from native_elsewhere import Elsewhere, here
from native_kernels import all_cases, kernels_of
from native_kernels import faults as kernel_faults
from native_networks import faults, first_classes
from native_programs import MACHINES, THIS, Machine, broken, zig

from edgecvx.export.native.writer import write
from edgecvx.spec import Task

OTHERS = [machine for machine in MACHINES if machine is not THIS and machine.name != "max"]


@functools.cache
def elsewhere(machine: Machine) -> Elsewhere:
    if reason := machine.why_not():
        pytest.skip(reason)
    return Elsewhere(machine)


@pytest.mark.parametrize("machine", OTHERS, ids=str)
def test_it_chooses_the_best_kernels_that_run_there(machine: Machine) -> None:
    assert elsewhere(machine).kernels[0] == machine.kernels


@pytest.mark.parametrize("machine", OTHERS, ids=str)
def test_every_layer_and_the_first_class_are_the_references(machine: Machine) -> None:
    there = elsewhere(machine)
    assert faults(there, range(2)) == []
    same, total = first_classes(there, range(3))
    assert same >= total - 1


@pytest.mark.parametrize("machine", OTHERS, ids=str)
def test_a_network_answers_there_bit_for_bit_what_it_answers_here(machine: Machine) -> None:
    """One with all layers of integers, with some of floats, and with all of floats."""
    there, at_home = elsewhere(machine), here()
    for seed, integers in ((4, 1.0), (5, 0.7), (6, 0.0)):
        described = random_description(seed, task=Task.CLASSIFY, classes=10, integers=integers)
        file, images = write(described), image_of(described, seed, pictures=2)
        wanted = at_home.answer(file, images)[0]
        assert all(np.array_equal(there.answer(file, images, kernels)[0], wanted) for kernels in there.kernels)


@pytest.mark.parametrize("machine", OTHERS, ids=str)
def test_every_kernel_there_is_exact_or_near(machine: Machine) -> None:
    if reason := machine.why_not():
        pytest.skip(reason)
    cases = all_cases(seed=3, count=8)
    assert [fault for kernels in kernels_of(machine) for fault in kernel_faults(machine, kernels, cases)] == []


def test_a_kernel_of_another_processor_that_loses_a_bit_is_noticed(tmp_path: Path) -> None:
    """Four products of bytes in 16 bits, on a processor without dot products, where two at a time are the most."""
    machine = next(machine for machine in OTHERS if machine.kernels == "neon")
    if reason := machine.why_not() or ("" if zig() else "ziglang is not installed"):
        pytest.skip(reason)
    folder = broken(tmp_path, "path_neon.h", "if (most > 255", "if (most > 511")
    found = kernel_faults(machine, "neon", all_cases(seed=3, count=8), folder=folder)
    assert any("sums of integers are wrong" in fault for fault in found), found
