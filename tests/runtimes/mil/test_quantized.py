"""MIL's operations between integers and floats, by Apple's description of them, and how malformed ones are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgecvx.runtimes.mil.ops import CONSTANT_OPS, OPS

X = np.array([[-9.0, -0.75, -0.25, 0.0], [0.25, 0.75, 1.25, 200.0]], np.float32)


def quantize(**arguments: Any) -> Any:
    return OPS["quantize"]({"input": X, "scale": 0.5, "zero_point": 0, "output_dtype": "int8", **arguments})


def dequantize(**arguments: Any) -> Any:
    integers = np.array([[-128, 0, 127], [1, 2, 3]], np.int8)
    return OPS["dequantize"]({"input": integers, "scale": 0.5, "zero_point": 0, **arguments})


def constant(**arguments: Any) -> Any:
    integers = np.array([[-127, 1], [127, -1], [3, 2]], np.int8)
    defaults = {"quantized_data": integers, "scale": np.array([1.0, 0.5, 2.0]), "zero_point": 0, "axis": 0}
    return CONSTANT_OPS["constexpr_affine_dequantize"]({**defaults, **arguments})


def test_half_a_step_goes_to_the_even_integer() -> None:
    """-1.5, -0.5, 0.5, 1.5 and 2.5 steps; the ends of int8 hold what lies beyond them."""
    assert quantize().tolist() == [[-18, -2, 0, 0], [0, 2, 2, 127]]
    assert quantize().dtype == np.int8


def test_zero_point_is_added_after_rounding() -> None:
    """With an odd one, rounding after the addition would give other integers: 0.5 + 3 is rounded to 4, 0 + 3 is 3."""
    assert quantize(zero_point=3).tolist() == [[-15, 1, 3, 3], [3, 5, 5, 127]]


def test_unsigned_integers_end_at_0_and_255() -> None:
    assert quantize(output_dtype="uint8").tolist() == [[0, 0, 0, 0], [0, 2, 2, 255]]
    assert quantize(output_dtype="uint8", zero_point=250).tolist() == [[232, 248, 250, 250], [250, 252, 252, 255]]


def test_infinity_is_the_largest_integer() -> None:
    infinite = np.array([np.inf, -np.inf], np.float32)
    assert quantize(input=infinite).tolist() == [127, -128]


def test_one_scale_per_channel_along_the_axis_that_is_said() -> None:
    x = np.ones((1, 2, 2), np.float32)
    steps = np.array([1.0, 0.25], np.float32)
    assert quantize(input=x, scale=steps, axis=1).tolist() == [[[1, 1], [4, 4]]]
    assert quantize(input=x, scale=steps, axis=-1).tolist() == [[[1, 4], [1, 4]]]
    shifts = np.array([0, 1], np.int8)
    assert quantize(input=x, scale=steps, zero_point=shifts, axis=2).tolist() == [[[1, 5], [1, 5]]]


def test_dequantize_gives_back_what_the_integers_stand_for() -> None:
    assert dequantize(zero_point=-128).tolist() == [[0.0, 64.0, 127.5], [64.5, 65.0, 65.5]]
    assert dequantize(scale=np.array([1.0, 2.0]), axis=0).tolist() == [[-128.0, 0.0, 127.0], [2.0, 4.0, 6.0]]


def test_constants_have_a_scale_per_channel() -> None:
    assert constant().tolist() == [[-127.0, 1.0], [63.5, -0.5], [6.0, 4.0]]
    assert constant(scale=2.0, zero_point=1, axis=-1).tolist() == [[-256.0, 0.0], [252.0, -4.0], [4.0, 2.0]]


MALFORMED: dict[str, tuple[Any, dict[str, Any], str]] = {
    "not a number": (quantize, {"input": np.array([np.nan], np.float32)}, "not a number"),
    "integers quantized": (quantize, {"input": np.zeros(3, np.int8)}, "of int8"),
    "another type": (quantize, {"output_dtype": "int16"}, "not int16"),
    "no step": (quantize, {"scale": 0.0}, "not a positive number"),
    "endless step": (quantize, {"scale": np.inf}, "not a positive number"),
    "negative step": (dequantize, {"scale": -0.5}, "not a positive number"),
    "far zero point": (quantize, {"zero_point": 128}, "outside int8"),
    "negative zero point": (quantize, {"zero_point": -1, "output_dtype": "uint8"}, "outside uint8"),
    "no axis": (quantize, {"scale": np.ones(4)}, "no axis"),
    "axis beyond": (quantize, {"scale": np.ones(4), "axis": 2}, "no axis 2"),
    "other channels": (quantize, {"scale": np.ones(3), "axis": 1}, "3] scales do not go"),
    "other zero points": (quantize, {"scale": np.ones(4), "zero_point": np.zeros(2), "axis": 1}, "2] zero points do"),
    "a matrix of steps": (quantize, {"scale": np.ones((2, 4)), "axis": 1}, "scales do not go"),
    "floats dequantized": (dequantize, {"input": X}, "not float32"),
    "constants of floats": (constant, {"quantized_data": X}, "not float32"),
    "constants without axis": (constant, {"axis": 4}, "no axis 4"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_operation_is_refused(case: str) -> None:
    """A ``ValueError`` becomes the session's error, with the name of the file and of the operation."""
    operation, arguments, message = MALFORMED[case]
    with pytest.raises(ValueError, match=message):
        operation(**arguments)


@pytest.mark.parametrize("missing", ["input", "scale", "output_dtype"])
def test_missing_argument_is_refused(missing: str) -> None:
    arguments = {"input": X, "scale": 0.5, "output_dtype": "int8"}
    with pytest.raises(KeyError, match=missing):
        OPS["quantize"]({name: value for name, value in arguments.items() if name != missing})
