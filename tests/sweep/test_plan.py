"""The plan of a recipe: which files it comes to, and that keys change with what they depend on, and nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgecvx.errors import UsageError
from edgecvx.sweep import job as jobs
from edgecvx.sweep.plan import Place, Plan, make_plan
from edgecvx.sweep.recipe.reading import read_recipe

HERE = Place(processor=("x86_64", "AVX2"), runtimes=lambda name: f"{name} 1")

Write = Callable[..., Path]
Change = tuple[str, str]


def planned(path: Path, place: Place = HERE) -> Plan:
    return make_plan(read_recipe(path), place)


def keys(plan: Plan) -> dict[str, str]:
    """The key of each job, by its kind and name."""
    return {f"{job.kind} {job.name}": job.key for job in plan.jobs.values()}


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> set[str]:
    """The jobs that have another key than before."""
    return {name for name, key in after.items() if before[name] != key}


def pictures(folder: Path, number: int) -> Path:
    """A folder of pictures that differ."""
    folder.mkdir()
    for index in range(number):
        Image.fromarray(np.full((80, 80, 3), 9 * index, np.uint8)).save(folder / f"{index}.png")
    return folder


FP32, INT8 = "export mine-64-fp32.onnx", "export mine-64-int8-few.onnx"
ON = " on drawn"
VALIDATED = {f"validate {name.partition(' ')[2]}{ON}" for name in (FP32, INT8)}
TIMED = "bench mine-64 on here"
DEVICE = '[[devices]]\nname = "here"\ndevice = "local"\nruns = 20\n'
EVERYTHING = {FP32, INT8, *VALIDATED, TIMED}


def test_a_plan_is_the_same_each_time(recipe: Write) -> None:
    path = recipe(more=DEVICE)
    first = keys(planned(path))
    assert set(first) == EVERYTHING
    assert first == keys(planned(path))
    assert len(set(first.values())) == len(first)


WHAT: dict[str, tuple[tuple[Change, ...], set[str]]] = {
    "a picture more to calibrate on": ((("samples = 4", "samples = 5"),), EVERYTHING - {FP32} - {sorted(VALIDATED)[0]}),
    "another estimator": ((("samples = 4", 'samples = 4\nestimator = "mse"'),), {INT8, sorted(VALIDATED)[1], TIMED}),
    "a picture more to validate on": ((("limit = 24", "limit = 25"),), VALIDATED),
    "another order": ((("limit = 24", "limit = 24\nseed = 1"),), VALIDATED),
    "no labels": ((("limit = 24", 'limit = 24\ntruth = "none"'),), VALIDATED),
    "another gate of accuracy": ((("max_drop = 100", "max_drop = 50"),), VALIDATED),
    "bytes as input": ((("image_sizes", 'input = "uint8"\nimage_sizes'),), EVERYTHING),
    "another number of runs": ((("runs = 20", "runs = 30"),), {TIMED}),
    "threads": ((("runs = 20", "runs = 20\nthreads = [1]"),), {TIMED}),
    "another gate of size": ((("max_mb = 1", "max_mb = 2"),), set()),
    "a gate of latency": ((("max_mb = 1", "max_mb = 1\n[[gates]]\nmax_p50 = 9"),), set()),
    "how long a device is waited for": ((("runs = 20", "runs = 20\nwait_minutes = 1\ntries = 2"),), set()),
    "a comment": ((('name = "small"', 'name = "small"  # and beautiful'),), set()),
    "the sweep's name": ((('name = "small"', 'name = "other"'),), set()),
}


@pytest.mark.parametrize(("changes", "expected"), WHAT.values(), ids=WHAT)
def test_a_key_changes_with_what_it_depends_on(changes: tuple[Change, ...], expected: set[str], recipe: Write) -> None:
    before = keys(planned(recipe(more=DEVICE)))
    path = recipe(more=DEVICE)
    text = path.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    path.write_text(text)
    assert changed(before, keys(planned(path))) == expected


def test_a_key_changes_with_the_content_of_files_and_not_with_their_names(recipe: Write) -> None:
    path = recipe()
    before = keys(planned(path))
    folder = path.parent
    content = bytearray((folder / "mine.safetensors").read_bytes())
    (folder / "labels.txt").rename(folder / "names.txt")
    path.write_text(path.read_text().replace("labels.txt", "names.txt"))
    assert changed(before, keys(planned(path))) == set()
    content[-1] ^= 1
    (folder / "mine.safetensors").write_bytes(content)
    assert changed(before, keys(planned(path))) == set(before)
    content[-1] ^= 1
    (folder / "mine.safetensors").write_bytes(content)
    (folder / "names.txt").write_text((folder / "names.txt").read_text().replace("red", "crimson"))
    assert changed(before, keys(planned(path))) == set(before)


def test_a_picture_that_changes_changes_what_was_made_with_it(recipe: Write) -> None:
    path = recipe(("samples = 4", 'samples = 4\npictures = "calib"'), ("limit = 24", 'pictures = "eval"'))
    calib, judged = pictures(path.parent / "calib", 4), pictures(path.parent / "eval", 12)
    before = keys(planned(path))
    (judged / "7.png").rename(judged / "seven.png")  # reports name pictures
    assert changed(before, keys(planned(path))) == VALIDATED
    (judged / "seven.png").rename(judged / "7.png")
    Image.new("RGB", (80, 80), "red").save(calib / "2.png")
    # The file of floats too: what one file was calibrated on is kept from all, so that all see the same pictures.
    assert changed(before, keys(planned(path))) == {INT8, *VALIDATED}


def test_a_key_changes_with_versions_and_processors(recipe: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = recipe(more=DEVICE)
    before = keys(planned(path))
    other = dataclasses.replace(HERE, processor=("x86_64", "AVX-512"))
    assert changed(before, keys(planned(path, other))) == VALIDATED
    newer = dataclasses.replace(HERE, runtimes=lambda name: f"{name} 2")
    assert changed(before, keys(planned(path, newer))) == EVERYTHING
    unrelated = dataclasses.replace(HERE, runtimes=lambda name: f"{name} {2 if name == 'tflite' else 1}")
    assert changed(before, keys(planned(path, unrelated))) == set()
    monkeypatch.setattr(jobs, "_version", lambda name: "2" if name == "torch" else "1")
    assert changed(before, keys(planned(path))) == EVERYTHING
    monkeypatch.undo()
    monkeypatch.setattr(jobs, "__version__", "9")
    assert changed(before, keys(planned(path))) == EVERYTHING


def test_filters_choose_files_and_what_is_done_with_them(recipe: Write) -> None:
    more = DEVICE + '[[exclude]]\nprecision = "fp32"\ndevice = "here"\n[[include]]\ndata = "dr*"\nprecision = "fp*"\n'
    plan = planned(recipe(more=more))
    found = {p.cell.name: (list(p.validations), list(p.benches)) for p in plan.cells}
    assert found == {"mine-64-fp32.onnx": (["drawn"], []), "mine-64-int8-few.onnx": ([], ["here"])}


def test_what_no_target_has_is_left_out_and_said(recipe: Write) -> None:
    path = recipe(('["onnx"]', '["onnx", "openvino"]'), ('"int8"]', '"int8", "int8-dynamic"]'))
    plan = planned(path)
    assert "mine-64-int8-dynamic.openvino" not in {p.cell.name for p in plan.cells}
    assert [left.name for left in plan.left_out] == ["openvino int8-dynamic"]
    with pytest.raises(UsageError, match=r"the filters leave no file to export"):
        planned(recipe(more='[[exclude]]\nmodel = "*"\n'))


def test_files_that_take_turns_are_few_enough(recipe: Write) -> None:
    plan = planned(recipe(more=DEVICE + "together = 1\n"))
    benches = [job for job in plan.jobs.values() if job.kind == "bench"]
    assert [job.name for job in benches] == ["mine-64 1 on here", "mine-64 2 on here"]
