"""An error is a sentence to a user: what was wrong, with the value, and what to do."""

from __future__ import annotations

import inspect

import pytest

from edgecvx import errors
from edgecvx.errors import EdgecvxError, RuntimeUnavailableError, UsageError, missing_package, one_of

CLASSES = [c for _, c in inspect.getmembers(errors, inspect.isclass) if c.__module__ == errors.__name__]


@pytest.mark.parametrize("cls", CLASSES)
def test_errors_have_one_base_and_a_description(cls: type) -> None:
    """So that the command line catches them all with one clause, and a warning is not taken for an error."""
    assert issubclass(cls, EdgecvxError) != issubclass(cls, Warning)
    assert inspect.getdoc(cls)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("tflight", "unknown target 'tflight': did you mean tflite?"),
        ("ONNX", "unknown target 'ONNX': known: onnx, openvino, tflite."),
        ("", "unknown target '': known: onnx, openvino, tflite."),
    ],
)
def test_unknown_name_brings_the_nearest_or_all(value: str, message: str) -> None:
    error = one_of("target", value, ("onnx", "openvino", "tflite"))
    assert isinstance(error, UsageError)
    assert str(error) == message


def test_missing_package_says_how_to_get_it() -> None:
    error = missing_package("openvino", "openvino")
    assert isinstance(error, RuntimeUnavailableError)
    assert str(error) == "openvino is not installed here: pip install 'edgecvx[openvino]'"
