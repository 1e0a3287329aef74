"""Label files and class names as they are found in the wild: taken where there is no doubt, refused where there is."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from edgecvx.data.dataset import Dataset, open_data
from edgecvx.data.truth import class_indices, read_truth
from edgecvx.errors import UsageError

SYNSETS = [f"n{1_440_764 + i:08d}" for i in range(4)]


def flat(folder: Path, count: int = 4) -> Path:
    """ImageNet's validation folder, in small."""
    (folder / "val").mkdir()
    for i in range(1, count + 1):
        Image.new("RGB", (8, 8), (i, 0, 0)).save(folder / "val" / f"ILSVRC2012_val_{i:08d}.JPEG", "JPEG")
    return folder / "val"


def labels_of(data: Dataset) -> dict[str, int | None]:
    return {s.name[-9:-5]: s.label for s in data.samples}


FORMATS = {
    "caffe": "ILSVRC2012_val_{:08d}.JPEG {index}\n",
    "with its folder and a tab": "val/ILSVRC2012_val_{:08d}.JPEG\t{index}\n",
    "without suffix": "ILSVRC2012_val_{:08d} {index}\n",
    "csv": "ILSVRC2012_val_{:08d}.JPEG,{index}\n",
    "synsets": "ILSVRC2012_val_{:08d}.JPEG {synset}\n",
    "csv with a header": "ImageId,Label\nILSVRC2012_val_{:08d}.JPEG,{index}\n",
    "solution file": "ImageId,PredictionString\nILSVRC2012_val_{:08d},{synset} 85 1 499 272 \n",
}


@pytest.mark.parametrize("name", FORMATS)
def test_the_usual_label_files_of_imagenet(name: str, tmp_path: Path) -> None:
    folder = flat(tmp_path)
    header, line = FORMATS[name].rpartition("\n")[0].rpartition("\n")[::2]
    lines = [line.format(i, index=i % 4, synset=SYNSETS[i % 4]) for i in range(1, 5)]
    text = "\n".join([header, *lines] if header else lines)
    (tmp_path / "val.txt").write_text("\ufeff" + text, encoding="utf-8")
    data = open_data(folder, num_classes=4, truth=tmp_path / "val.txt")
    assert data.kind == "label-file" and not data.notes
    assert labels_of(data) == {"0001": 1, "0002": 2, "0003": 3, "0004": 0}


def test_a_label_of_several_words_and_comments(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("# made by hand\n\na.png great white shark\nb.png\ttiger cat\n")
    assert read_truth(tmp_path / "t.txt") == {"a.png": "great white shark", "b.png": "tiger cat"}


def test_a_folder_may_be_labelled_as_a_whole(tmp_path: Path) -> None:
    for name, shade in (("x/1.png", 1), ("x/2.png", 2), ("y/3.png", 3)):
        (tmp_path / "p" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (shade, 0, 0)).save(tmp_path / "p" / name)
    (tmp_path / "t.txt").write_text("x 7\ny 2\n")
    data = open_data(tmp_path / "p", num_classes=1000, truth=tmp_path / "t.txt")
    assert {s.name: s.label for s in data.samples} == {"x/1.png": 7, "x/2.png": 7, "y/3.png": 2}


def test_what_does_not_match_is_named_and_counted(tmp_path: Path) -> None:
    folder = flat(tmp_path)
    lines = [f"ILSVRC2012_val_{i:08d}.JPEG 0" for i in (1, 2, 3, 99)]
    (tmp_path / "val.txt").write_text("\n".join(lines))
    data = open_data(folder, num_classes=4, truth=tmp_path / "val.txt")
    assert len(data.samples) == 3
    assert [(s.name[-9:], s.reason) for s in data.skipped] == [("0004.JPEG", "not in val.txt")]
    assert "1 entries of val.txt have no picture" in data.notes[0] and "00000099" in data.notes[0]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("490\n361\n171\n822\n", "a bare list of labels does not say which picture"),
        ("other_{i}.png 1\n", "knows only 0 of the 4 pictures"),
        ("ILSVRC2012_val_00000001.JPEG 1\n", "knows only 1 of the 4 pictures"),
        ("ILSVRC2012_val_00000001.JPEG 1\nILSVRC2012_val_00000001.JPEG 2\n", "line 2: .* is '2' here and '1' before"),
        ("", "holds no labels"),
        ("a,1\nb,\n", "line 2: expected a picture's name and its label"),
    ],
)
def test_a_label_file_that_cannot_be_meant_is_refused(content: str, said: str, tmp_path: Path) -> None:
    folder = flat(tmp_path)
    (tmp_path / "val.txt").write_text(content)
    with pytest.raises(UsageError, match=said):
        open_data(folder, num_classes=4, truth=tmp_path / "val.txt")


def test_a_label_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the labels"):
        read_truth(tmp_path / "nowhere.txt")
    (tmp_path / "picture.txt").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(UsageError, match="is not UTF-8"):
        read_truth(tmp_path / "picture.txt")


LABELS = ("tench", "great white shark", "tiger-cat", "Eft")


def test_names_of_the_network_are_found_apart_from_case_and_spaces() -> None:
    found = class_indices(["Great_White_Shark", "eft"], 4, LABELS, "data")
    assert found == {"Great_White_Shark": 1, "eft": 3}, "a part of the classes is enough"


def test_one_of_several_synonyms_is_enough_if_it_is_of_one_class() -> None:
    labels = ("tench, Tinca tinca", "crane, bird", "crane, machine", "maillot", "maillot, tank suit")
    assert class_indices(["Tinca_tinca", "maillot"], 5, labels, "data") == {"Tinca_tinca": 0, "maillot": 3}
    with pytest.raises(UsageError, match="or more than one: 'crane'"):
        class_indices(["tench", "crane"], 5, labels, "data")


def test_numbers_are_indices_and_never_sorted_as_text() -> None:
    assert class_indices(["10", "9", "2"], 1000, None, "data") == {"10": 10, "2": 2, "9": 9}


def test_as_many_names_as_classes_are_numbered_in_their_order() -> None:
    assert class_indices(SYNSETS[::-1], 4, None, "data") == {name: i for i, name in enumerate(SYNSETS)}
    assert class_indices(SYNSETS, 4, LABELS, "data") == {name: i for i, name in enumerate(SYNSETS)}


@pytest.mark.parametrize(
    ("names", "classes", "said"),
    [
        (SYNSETS[:3], 1000, "data has 3 classes .* the network 1000"),
        (["tench", "pike"], 4, "1 of 2 class names are none of the network's, or more than one: 'pike'"),
        (["1", "2", "4"], 4, "seem to be counted from 1"),
        (["0", "1000"], 1000, "class 1000 is not one of 0 to 999$"),
        (["7", "07"], 10, "in two ways"),
        (["tiger cat", "tiger_cat"], 4, "two of its class names mean the same class"),
    ],
)
def test_a_doubtful_naming_is_refused(names: list[str], classes: int, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        class_indices(names, classes, LABELS, "data")
