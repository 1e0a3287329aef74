"""Recipes: what is right in them is read, and what is wrong is named with its line and column."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgecvx.errors import UsageError
from edgecvx.sweep.recipe.places import places_of
from edgecvx.sweep.recipe.reading import read_recipe

RIGHT = """\
# Everything a recipe may say.
name = "birds"
targets = ["onnx",
           "tflite"]
precisions = ["fp32", "int8"]
image_sizes = [64, 96]

[[models]]
name = "small"
model = "weights.safetensors"
labels = "labels.txt"

[[models]]
model = "atto"
weights = "demo"

[[calibrations]]
name = "few"
pictures = "birds"
samples = 32

[[data]]
name = "drawn"
limit = 48

[[devices]]
name = "kitchen"
device = "ssh://pi@kitchen"
threads = [1, 2]

[[include]]
model = ["small", "at*"]

[[exclude]]
image_size = 96
precision = "int8"

[[gates]]
min_ratio = 0.99

[[gates]]
max_p50 = 40
where = { device = "kitchen", precision = "int8" }
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "birds").mkdir()
    (tmp_path / "weights.safetensors").touch()
    (tmp_path / "labels.txt").touch()
    return tmp_path


def written(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_everything_is_read_and_paths_are_those_beside_the_recipe(folder: Path) -> None:
    recipe = read_recipe(written(folder, RIGHT)).recipe
    assert [model.name for model in recipe.models] == ["small", "atto"]
    assert recipe.models[0].model == str(folder / "weights.safetensors")
    assert recipe.models[1].model == "atto"
    assert recipe.calibrations[0].pictures == str(folder / "birds")
    assert recipe.data[0].pictures == "demo"
    assert recipe.devices[0].threads == (1, 2)
    assert recipe.exclude[0].image_size == ("96",)
    assert recipe.gates[1].where is not None


WRONG = {
    "no TOML": ('name = "birds"', "name = birds", 2, 8, "no TOML: Invalid value"),
    "a key nobody knows": ('weights = "demo"', 'wieghts = "demo"', 15, 1, "unknown key 'wieghts' in [models]: did you"),
    "a key at the top": ("image_sizes =", "sizes =", 6, 1, "unknown key 'sizes' in a recipe: did you mean image_sizes"),
    "a number as text": ("limit = 48", 'limit = "48"', 24, 1, "limit is a whole number, not '48'"),
    "one value for a list": ("[64, 96]", "64", 6, 1, "image_sizes is a list in brackets, not 64"),
    "text for a table": ('where = { device = "kitchen", precision = "int8" }', 'where = "x"', 43, 1, "is a table"),
    "a key that is missing": ('model = "atto"\n', "", 13, 1, "[models] needs model"),
    "no target": ('["onnx",\n           "tflite"]', "[]", 3, 1, "targets is empty: nothing would be exported"),
    "an unknown target": ('"tflite"]', '"tflight"]', 4, 12, "unknown target 'tflight': did you mean tflite"),
    "a target twice": ('"tflite"]', '"onnx"]', 4, 12, "'onnx' is there twice in targets"),
    "an unknown precision": ('"int8"]', '"int4"]', 5, 23, "unknown precision 'int4': did you mean int8"),
    "a size that no network takes": ("96]", "95]", 6, 20, "image size 95 does not work: it must be a multiple of 32"),
    "a name with a slash": ('name = "few"', 'name = "a/few"', 18, 1, "'a/few' is no name: it is letters"),
    "two of one name": ('model = "atto"', 'model = "femto"\nname = "small"', 15, 1, "'small' is there twice in models"),
    "weights that are not there": ('"weights.safe', '"wights.safe', 10, 1, "there is no"),
    "labels that are not there": ('"labels.txt"', '"classes.txt"', 11, 1, "paths are relative to the recipe"),
    "pictures that are a file": ('pictures = "birds"', 'pictures = "labels.txt"', 19, 1, "is no folder of pictures"),
    "too few pictures": ("samples = 32", "samples = 0", 20, 1, "0 samples do not work"),
    "an unknown estimator": ("samples = 32", 'estimator = "mean"', 20, 1, "unknown range estimator 'mean'"),
    "labels for drawn pictures": ("limit = 48", 'truth = "labels.txt"', 24, 1, "drawn pictures bring their labels"),
    "a device nobody knows": ('"ssh://pi@kitchen"', '"usb://pi"', 28, 1, "unknown device 'usb://pi'"),
    "too many threads": ("[1, 2]", "[1, 999]", 29, 15, "999 threads do not work"),
    "runs and seconds": ("threads = [1, 2]", "runs = 9\nseconds = 9", 30, 1, "runs and seconds exclude each other"),
    "a filter of an axis nobody knows": ("image_size = 96", "size = 96", 35, 1, "unknown key 'size' in [exclude]"),
    "a filter that fits nothing": ('"at*"', '"af*"', 32, 1, "no model of this recipe is 'af*': there are small, atto"),
    "a filter of two kinds": ("image_size = 96", 'device = "*"\ndata = "*"', 35, 1, "about data or about a device"),
    "a gate without a limit": ("min_ratio = 0.99", "", 38, 1, "a gate has a limit: one of min_ratio"),
    "a gate with two": ("max_p50 = 40", "max_p50 = 40\nmax_mb = 1", 43, 1, "a gate has one limit, not max_p50 and"),
    "a ratio above one": ("min_ratio = 0.99", "min_ratio = 99", 39, 1, "min_ratio 99 does not work"),
    "accuracy on a device": ("max_p50 = 40", "max_drop = 1", 43, 1, "max_drop has nothing to do with a device"),
    "another version": ('name = "birds"', 'name = "birds"\nschema_version = 9', 3, 1, "version 9 is not known: 1 is"),
    "calibration for nothing": ('"int8"]', '"fp16"]', 17, 1, "no precision is calibrated: leave calibrations out"),
}


@pytest.mark.parametrize("case", WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_named_with_its_place(case: tuple[str, str, int, int, str], folder: Path) -> None:
    right, wrong, line, column, said = case
    assert RIGHT.count(right) == 1
    text = RIGHT.replace(right, wrong)
    if "calibrated" in said:
        text = text.replace('precision = "int8"\n', 'precision = "fp16"\n').replace('on = "int8" }', 'on = "fp16" }')
    with pytest.raises(UsageError) as error:
        read_recipe(written(folder, text))
    place, _, sentence = str(error.value).partition(": ")
    assert place == f"{folder / 'recipe.toml'}:{line}:{column}"
    assert said in sentence
    assert "\n" not in sentence


def test_a_recipe_that_is_no_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_recipe(tmp_path / "recipe.toml")
    (tmp_path / "recipe.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="no UTF-8 text"):
        read_recipe(tmp_path / "recipe.toml")


def test_the_place_of_every_key_is_known_in_every_way_of_writing_it() -> None:
    text = (
        'a.b = 1 # x = [\n"quo ted" = """one\n[not]\n""""\nlit = \'[\'\n'
        '[t.u]\nk = [1, # two\n  {x = 2, y.z = "}"},\n]\n'
        "[[l]]\nm = 1\n[[l]]\n[l.n]\no = 'x'\n[[l.p]]\nq = 1\n"
    )
    found = {path: (place.line, place.column) for path, place in places_of(text).items()}
    assert found["a", "b"] == (1, 3)
    assert found["quo ted",] == (2, 1)
    assert found["lit",] == (5, 1)
    assert found["t", "u", "k", 1] == (8, 3)
    assert found["t", "u", "k", 1, "y", "z"] == (8, 13)
    assert found["l", 0, "m"] == (11, 1)
    assert found["l", 1, "n", "o"] == (14, 1)
    assert found["l", 1, "p", 0, "q"] == (16, 1)
