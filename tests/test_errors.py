"""An error is a sentence to a user: what was wrong, with the value, and what to do."""

from __future__ import annotations

import inspect
import pickle
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from commands import fails
from documented import ROOT
from markdown_links import Link

from edgecvx import errors
from edgecvx.cluster.address import check_private
from edgecvx.errors import (
    DOCUMENTATION,
    CheckpointError,
    EdgecvxError,
    Page,
    RuntimeUnavailableError,
    UsageError,
    about,
    missing_package,
    one_of,
    with_page,
)
from edgecvx.export.native.parser import read
from edgecvx.latency.devices import open_device
from edgecvx.proof.selfcheck import self_check
from edgecvx.publishing.tracking import open_tracker
from edgecvx.spec import Precision, TensorSpec
from edgecvx.sweep.recipe.reading import read_recipe
from edgecvx.tune.tune import tune

CLASSES = [
    c for _, c in inspect.getmembers(errors, inspect.isclass) if c.__module__ == errors.__name__ and c is not Page
]


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


# The page that helps.


def link(page: str) -> Link:
    """Where an error sends its reader."""
    place, _, anchor = page.partition("#")
    target = ROOT / DOCUMENTATION / place
    return Link(page=Path("errors.py"), target=target, anchor=anchor, text=page)


@pytest.mark.parametrize("page", Page)
def test_every_page_an_error_names_is_there_with_its_heading(page: Page) -> None:
    assert link(page.value).fault == ""


@pytest.mark.parametrize(
    ("page", "fault"),
    [("nowhere.md", "leads to no file"), ("int8.md#when-it-does-not", "leads to no heading of int8.md")],
)
def test_a_page_that_is_not_there_is_noticed(page: str, fault: str) -> None:
    assert fault in link(page).fault


@pytest.mark.parametrize("page", Page)
def test_no_page_is_listed_that_no_error_names(page: Page) -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "edgecvx").rglob("*.py"))
    assert re.search(rf"\bPage\.{page.name}\b", code)


def hostile(folder: Path) -> None:
    (folder / "a.ecvx").write_bytes(b"not one")
    read(folder / "a.ecvx")


def recipe(folder: Path) -> None:
    (folder / "a.toml").write_text("targets = 3")
    read_recipe(folder / "a.toml")


def off(precision: Precision) -> None:
    """A file that does not compute what it should."""
    spec = TensorSpec(name="logits", shape=(1, 2), dtype="float32", layout="NC")
    answers = {"logits": np.ones((1, 2), np.float32)}
    self_check(answers, runtime="a", outputs=(spec,), expected=[np.array([[0, 1]], np.float32)], precision=precision)


@pytest.mark.parametrize(
    ("wrong", "page"),
    [
        (hostile, Page.NATIVE_FILE),
        (recipe, Page.RECIPE),
        (lambda _: check_private("tcp://10.0.0.1:8786"), Page.CERTIFICATES),
        (lambda _: open_device("ssh://"), Page.DEVICES),
        (lambda _: open_device("adb://nobody"), Page.PHONES),
        (lambda _: tune([], target="onnx"), Page.TUNE),
        (lambda _: off(Precision.INT8), Page.INT8),
        (lambda _: off(Precision.FP16), None),
        (lambda _: open_tracker("ftp://host"), Page.RUNS),
    ],
)
def test_errors_know_the_page_that_helps(wrong: Callable[[Path], object], page: Page | None, tmp_path: Path) -> None:
    with pytest.raises(EdgecvxError) as caught:
        wrong(tmp_path)
    assert caught.value.page is page


def test_the_page_stands_at_the_end_of_the_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.toml").write_text("targets = 3")
    line = fails(["sweep", str(tmp_path / "a.toml")], capfd)
    assert line.endswith(" (see docs/sweep.md#a-recipe)")
    assert "(see" not in fails(["bench", str(tmp_path / "none.onnx")], capfd)


def test_the_innermost_page_counts_and_a_missing_package_is_installed_alike() -> None:
    with pytest.raises(UsageError) as caught, about(Page.TUNE), about(Page.RECIPE):
        raise UsageError("no")
    assert caught.value.page is Page.RECIPE
    with pytest.raises(RuntimeUnavailableError) as missed, about(Page.TUNE):
        raise missing_package("a", "b")
    assert missed.value.page is Page.INSTALLING
    assert with_page(UsageError("no")) == "no"


def test_the_page_goes_with_an_error_into_another_process() -> None:
    error = CheckpointError("no")
    error.page = Page.RECIPE
    assert with_page(pickle.loads(pickle.dumps(error))) == "no (see docs/sweep.md#a-recipe)"
