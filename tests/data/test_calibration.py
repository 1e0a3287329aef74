"""Which pictures a calibration takes, that they are kept out of validations, and what is said about weak sets."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgecvx.data.calibration import CalibrationFeed, open_calibration
from edgecvx.data.dataset import Sample, open_data
from edgecvx.errors import EdgecvxError, ImageError, UsageError
from edgecvx.spec import PreprocessSpec, TensorSpec

SPEC = PreprocessSpec(size=32, crop_pct=1.0)
FLOATS = TensorSpec(name="image", shape=(1, 3, 32, 32), dtype="float32", layout="NCHW")
BYTES = TensorSpec(name="image", shape=(1, 3, 32, 32), dtype="uint8", layout="NCHW")


def save(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(pixels).save(path, "PNG")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three sub-folders of 40, 10 and 5 pictures, and one beside them."""
    root = tmp_path / "photos"
    files = [f"{name}/{i:02}.png" for name, count in (("a", 40), ("b", 10), ("c", 5)) for i in range(count)]
    for seed, name in enumerate([*files, "loose.png"]):
        save(root / name, seed)
    return root


def feed(chosen_from: str | Path, samples: int, tensor: TensorSpec = FLOATS) -> CalibrationFeed:
    return CalibrationFeed(open_calibration(chosen_from, samples=samples), SPEC, tensor)


def test_the_choice_is_spread_over_the_folders_and_always_the_same(folder: Path) -> None:
    chosen = open_calibration(folder, samples=13).samples
    assert chosen == open_calibration(folder, samples=13).samples
    assert Counter(s.name.split("/")[0] for s in chosen) == {"a": 4, "b": 4, "c": 4, "loose.png": 1}
    assert {s.name for s in chosen if s.name.startswith("a")} != {f"a/{i:02}.png" for i in range(4)}


def test_a_validation_leaves_out_exactly_what_was_calibrated_on(folder: Path) -> None:
    pass_ = feed(folder, 12)
    assert len(list(pass_)) == 12
    data = open_data(folder, num_classes=0, exclude=pass_.calibration.pictures)
    assert data.excluded == 12 and len(data.samples) == 56 - 12
    assert not {s.sha256 for s in data.samples} & set(pass_.calibration.pictures)


def test_drawn_pictures_are_the_calibration_stream_s() -> None:
    pass_ = feed("demo", 4)
    pictures = list(pass_)
    assert pass_.calibration.kind == "demo" and len({p.tobytes() for p in pictures}) == 4
    validation = open_data("demo", num_classes=0, limit=4).samples
    assert not {s.sha256 for s in validation} & set(pass_.calibration.pictures)
    drawn = next(iter(feed("demo", 1, BYTES)))[0].transpose(1, 2, 0)
    assert not np.array_equal(validation[0].pixels(SPEC), drawn)


def test_pictures_come_as_the_graph_takes_them(folder: Path) -> None:
    floats, pixels = next(iter(feed(folder, 1))), next(iter(feed(folder, 1, BYTES)))
    assert floats.dtype == np.float32 and pixels.dtype == np.uint8 and floats.shape == pixels.shape == (1, 3, 32, 32)
    mean, std = (np.asarray(x, np.float32).reshape(3, 1, 1) for x in (SPEC.mean, SPEC.std))
    np.testing.assert_allclose(floats[0], (pixels[0] / 255 - mean) / std, rtol=1e-5, atol=1e-5)


def test_only_a_few_pictures_are_decoded_ahead(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    pixels = Sample.pixels

    def counted(sample: Sample, spec: PreprocessSpec) -> object:
        opened.append(sample.name)
        return pixels(sample, spec)

    monkeypatch.setattr(Sample, "pixels", counted)
    for used, _ in enumerate(feed(folder, 50)):
        assert len(opened) - used <= 8
    assert len(opened) == used + 1 == 50


def test_the_record_names_what_was_used_and_its_hash_follows(folder: Path) -> None:
    def record(samples: int) -> tuple[str, int]:
        pass_ = feed(folder, samples)
        list(pass_)
        return pass_.calibration.sha256, pass_.calibration.count

    assert record(10) == record(10) != record(11)
    with pytest.raises(EdgecvxError, match="nothing was calibrated yet"):
        _ = feed(folder, 3).calibration


def test_a_damaged_picture_is_left_out_and_named(folder: Path) -> None:
    for name in ("a/cut1.png", "a/cut2.png"):
        content = save(folder / name, 99).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2] + name.encode())
    (folder / "b" / "notes.txt").write_text("no picture")
    pass_ = feed(folder, 256)
    assert len(list(pass_)) == pass_.calibration.count == 56
    told = pass_.warnings
    assert any("3 files are left out" in t and "'b/notes.txt'" in t for t in told)
    assert any("56 of the 256 pictures asked for" in t for t in told)


def test_a_good_set_is_not_commented_on(folder: Path) -> None:
    pass_ = feed(folder, 40)
    list(pass_)
    assert pass_.warnings == ()


@pytest.mark.parametrize(("samples", "words"), [(1, "one single picture"), (31, "only 31 pictures")])
def test_few_pictures_are_told(folder: Path, samples: int, words: str) -> None:
    pass_ = feed(folder, samples)
    list(pass_)
    assert any(words in told for told in pass_.warnings)


def test_pictures_of_one_colour_are_told(tmp_path: Path) -> None:
    for shade in range(32):
        Image.new("RGB", (32, 32), (shade, 3, 200)).save(tmp_path / f"{shade}.png")
    pass_ = feed(tmp_path, 32)
    list(pass_)
    (told,) = pass_.warnings
    assert "every one of the 32 calibration pictures has one single colour" in told


def test_copies_count_once_and_are_told(folder: Path) -> None:
    content = (folder / "c" / "00.png").read_bytes()
    for copy in range(60):
        (folder / "c" / f"copy{copy}.png").write_bytes(content)
    pass_ = feed(folder, 256)
    assert len(list(pass_)) == 56
    assert any("60 files are repeats of others" in told for told in pass_.warnings)


def test_what_cannot_be_calibrated_on_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no picture to calibrate on"):
        open_calibration(tmp_path)
    (tmp_path / "readme.txt").write_text("no picture")
    with pytest.raises(UsageError, match=r"1 left out, such as 'readme.txt'"):
        open_calibration(tmp_path)
    with pytest.raises(EdgecvxError, match="cannot be listed"):
        open_calibration(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="--calib-samples 0"):
        open_calibration("demo", samples=0)


def test_an_empty_path_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert open_calibration(".").samples
    with pytest.raises(UsageError, match="an empty path names no folder"):
        open_calibration("")


def test_a_folder_of_damaged_pictures_is_refused(tmp_path: Path) -> None:
    for seed in range(3):
        path = save(tmp_path / f"{seed}.png", seed)
        path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(ImageError, match="none of the 3 pictures can be decoded"):
        list(feed(tmp_path, 3))
