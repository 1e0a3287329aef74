"""Which pictures a validation takes, in which order, and what it does with what cannot be taken."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgecvx.data import dataset, demo
from edgecvx.data.dataset import content_hashes, demo_sha256, open_data
from edgecvx.errors import EdgecvxError, ImageError, UsageError
from edgecvx.spec import PreprocessSpec


def save(path: Path, shade: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (shade % 256, shade // 256, 7)).save(path, "PNG")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three classes of 40, 10 and 5 pictures."""
    root = tmp_path / "pictures"
    for shade, (name, index) in enumerate(
        (n, i) for n, count in (("a", 40), ("b", 10), ("c", 5)) for i in range(count)
    ):
        save(root / name / f"{index}.png", shade)
    return root


def test_every_beginning_is_as_balanced_as_the_folder_allows(folder: Path) -> None:
    data = open_data(folder, num_classes=3)
    labels = [sample.label for sample in data.samples]
    assert len(labels) == 55 and data.labelled
    assert all(set(labels[i : i + 3]) == {0, 1, 2} for i in range(0, 15, 3))
    assert Counter(labels[:25]) == {0: 10, 1: 10, 2: 5}


def test_a_limit_is_a_beginning_and_not_the_first_files(folder: Path) -> None:
    whole = open_data(folder, num_classes=3).samples
    nine = open_data(folder, num_classes=3, limit=9).samples
    assert nine == whole[:9]
    assert {s.name for s in nine if s.label == 0} != {"a/0.png", "a/1.png", "a/10.png"}


def test_the_choice_depends_on_the_seed_alone(folder: Path) -> None:
    def names(seed: int) -> list[str]:
        return [s.name for s in open_data(folder, num_classes=3, limit=12, seed=seed).samples]

    assert names(0) == names(0) != names(1)


def test_a_new_picture_moves_no_other(folder: Path) -> None:
    """The order is each picture's own hash: a folder that grew is nearly the same evaluation."""
    before = [s.name for s in open_data(folder, num_classes=3).samples if s.label == 0]
    save(folder / "a" / "new.png", 999)
    after = [s.name for s in open_data(folder, num_classes=3).samples if s.label == 0]
    assert [name for name in after if name != "a/new.png"] == before


def test_content_counts_once_under_whatever_name(folder: Path) -> None:
    for copy in ("a/copy.png", "b/contradiction.png"):
        (folder / copy).write_bytes((folder / "a" / "0.png").read_bytes())
    data = open_data(folder, num_classes=3)
    assert len(data.samples) == 55
    assert {s.name for s in data.skipped} < {"a/0.png", "a/copy.png", "b/contradiction.png"} and len(data.skipped) == 2
    assert any("which is in another class" in s.reason for s in data.skipped)


def test_calibration_pictures_are_excluded_by_content_before_the_limit(folder: Path, tmp_path: Path) -> None:
    whole = open_data(folder, num_classes=3).samples
    (tmp_path / "calibration").mkdir()
    for sample in whole[:4]:
        assert sample.path is not None
        (tmp_path / "calibration" / f"{sample.sha256[:8]}.png").write_bytes(sample.path.read_bytes())
    data = open_data(folder, num_classes=3, limit=10, exclude=content_hashes(tmp_path / "calibration"))
    assert data.excluded == 4
    assert data.samples == whole[4:14], "the limit is filled up with others"


def test_a_calibration_picture_too_large_to_read_excludes_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "MAX_BYTES", 10)
    assert content_hashes(folder) == frozenset()


def test_when_nothing_is_left_it_says_where_everything_went(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"no picture to run \(55 excluded as calibration pictures\)$"):
        open_data(folder, num_classes=3, exclude=content_hashes(folder))
    for path in folder.rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(UsageError, match=r"no picture to run \(left out: 55 the file is empty\)$"):
        open_data(folder, num_classes=3)


def test_an_empty_folder_and_an_empty_path_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"^empty: there is no picture to run$"):
        open_data(tmp_path / "empty", num_classes=3)
    save(tmp_path / "a.png", 1)
    monkeypatch.chdir(tmp_path)
    assert len(open_data(".", num_classes=0).samples) == 1
    with pytest.raises(UsageError, match="an empty path names no folder"):  # a variable nobody set
        open_data("", num_classes=0)


def test_a_folder_without_classes_has_no_labels(tmp_path: Path) -> None:
    save(tmp_path / "one.png", 1)
    data = open_data(tmp_path, num_classes=3)
    assert data.kind == "unlabelled" and not data.labelled and data.samples[0].label is None


def test_pictures_beside_the_class_folders_are_left_out(folder: Path) -> None:
    save(folder / "loose.png", 500)
    data = open_data(folder, num_classes=3)
    assert [(s.name, s.reason) for s in data.skipped] == [("loose.png", "not in a class folder")]


def test_labels_can_be_left_aside(folder: Path) -> None:
    data = open_data(folder, num_classes=1000, truth="none")
    assert data.kind == "unlabelled" and len(data.samples) == 55


def test_rubbish_is_named_counted_and_left_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "a" / "empty.png").touch()
    (folder / "a" / "text.jpg").write_text("no picture")
    huge = folder / "b" / "huge.png"
    huge.write_bytes((folder / "b" / "0.png").read_bytes() + bytes(10_000))
    monkeypatch.setattr(dataset, "MAX_BYTES", 9_000)
    if hasattr(os, "symlink"):
        (folder / "a" / "loop").symlink_to(folder, target_is_directory=True)
    data = open_data(folder, num_classes=3)
    assert len(data.samples) == 55
    reasons = {s.name: s.reason for s in data.skipped}
    assert reasons["a/empty.png"] == "the file is empty" and "is not a picture" in reasons["a/text.jpg"]
    assert reasons["b/huge.png"].startswith("larger than") and reasons["a/loop"] == "a link to a folder"


def test_a_label_file_among_the_pictures_is_not_left_out_of_them(folder: Path) -> None:
    names = [p.relative_to(folder).as_posix() for p in sorted(folder.rglob("*.png"))]
    truth = folder / "truth.txt"
    truth.write_text("\n".join(f"{name} 0" for name in names))
    (folder / "notes.txt").write_text("no label file")
    found = open_data(folder, num_classes=3, truth=truth)
    assert [s.name for s in found.skipped if s.name.endswith(".txt")] == ["notes.txt"]


def test_a_picture_that_vanishes_or_changes_is_told_apart_from_a_bad_one(folder: Path) -> None:
    spec = PreprocessSpec(size=32)
    first, second = open_data(folder, num_classes=3, limit=2).samples
    assert first.path is not None and second.path is not None
    first.path.unlink()
    with pytest.raises(ImageError, match="cannot be read"):
        first.pixels(spec)
    save(second.path, 4242)
    with pytest.raises(ImageError, match="was changed while"):
        second.pixels(spec)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(EdgecvxError, match="cannot be listed"):
        open_data(tmp_path / "nowhere", num_classes=3)


def test_drawn_pictures_come_with_labels_where_the_network_knows_them() -> None:
    data = open_data("demo", num_classes=24, labels=demo.CLASSES, limit=48)
    assert data.kind == "demo" and [s.label for s in data.samples] == [i % 24 for i in range(48)]
    pixels = data.samples[5].pixels(PreprocessSpec(size=64, crop_pct=1.0))
    np.testing.assert_array_equal(pixels, demo.picture(5, stream="validation", size=64)[0])
    unknown = open_data("demo", num_classes=1000, limit=8)
    assert not unknown.labelled and "24 classes that this network does not know" in unknown.notes[0]


def test_labels_of_drawn_pictures_follow_the_network_s_order() -> None:
    labels = tuple(reversed(demo.CLASSES))
    data = open_data("demo", num_classes=24, labels=labels, limit=3)
    assert [labels[s.label or 0] for s in data.samples] == list(demo.CLASSES[:3])


def test_drawn_pictures_have_an_identity_per_stream_and_index() -> None:
    names = {demo_sha256(stream, index) for stream in demo.STREAMS for index in range(3)}
    assert len(names) == 9
    first, second = (open_data("demo", num_classes=0, limit=4, seed=seed).samples for seed in (0, 1))
    assert not {s.sha256 for s in first} & {s.sha256 for s in second}


def test_a_label_file_does_not_go_with_drawn_pictures(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="bring their labels"):
        open_data("demo", num_classes=24, truth=tmp_path / "val.txt")


def test_the_hash_of_a_data_set_is_that_of_what_is_run(folder: Path) -> None:
    whole = open_data(folder, num_classes=3)
    assert whole.sha256 == open_data(folder, num_classes=3).sha256
    assert whole.sha256 != open_data(folder, num_classes=3, limit=54).sha256
    assert whole.sha256 != open_data(folder, num_classes=3, truth="none").sha256
