"""A board's pixels are those of the accuracy tests, and its ranking is the usual one."""

from __future__ import annotations

import io
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgecvx.board import pictures
from edgecvx.board.engines.base import Session, Tensor
from edgecvx.board.runner.end_to_end import EndToEnd
from edgecvx.board.runner.order import Artifact
from edgecvx.data.preprocess import prepare
from edgecvx.spec import PreprocessSpec, TensorSpec, to_json

SPECS = [
    PreprocessSpec(size=64),
    PreprocessSpec(size=96, crop_pct=1.0, resize="squash", interpolation="bilinear"),
    PreprocessSpec(size=32, crop_pct=0.9, interpolation="lanczos", exif="ignore", mean=(0.1, 0.2, 0.3), std=(1, 2, 3)),
    PreprocessSpec(size=64, interpolation="nearest"),
]
INPUTS = [
    ("float32", "NCHW", lambda n: (1, 3, n, n)),
    ("float16", "NHWC", lambda n: (1, n, n, 3)),
    ("uint8", "NHWC", lambda n: (1, n, n, 3)),
]


def odd_pictures() -> list[bytes]:
    """Every mode that needs care, shapes from slim to tall, turned by EXIF."""
    found = []
    rng = np.random.default_rng(0)
    for number, (width, height) in enumerate([(31, 200), (200, 31), (64, 64), (97, 113), (1, 1), (300, 299)]):
        pixels = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        exif = Image.Exif()
        exif[0x0112] = number + 1
        for mode, format in (("RGB", "JPEG"), ("CMYK", "JPEG"), ("L", "PNG"), ("P", "PNG"), ("RGBA", "WEBP")):
            file = io.BytesIO()
            pixels.convert(mode).save(file, format, exif=exif)
            found.append(file.getvalue())
    sixteen = io.BytesIO()
    Image.fromarray(rng.integers(0, 65536, (40, 50), dtype=np.uint16)).save(sixteen, "PNG")
    return [*found, sixteen.getvalue()]


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: s.interpolation)
def test_the_board_sees_what_the_accuracy_tests_see(spec: PreprocessSpec) -> None:
    """To the bit, and from the order's JSON instead of the dataclass."""
    told = pictures.read_preprocess(to_json(spec))
    for content, (dtype, layout, shape) in itertools.product(odd_pictures(), INPUTS):
        tensor = TensorSpec(name="x", shape=shape(spec.size), dtype=dtype, layout=layout)
        pixels = pictures.resize_and_crop(pictures.decode(content, told), told)
        on_board = pictures.as_input(pictures.stack([pixels]), told, tensor)
        expected = prepare(content, spec, tensor)
        assert on_board.dtype == expected.dtype
        assert on_board.flags["C_CONTIGUOUS"]
        np.testing.assert_array_equal(on_board, expected)


def test_another_size_would_be_noticed() -> None:
    content, spec = odd_pictures()[0], SPECS[0]
    tensor = TensorSpec(name="x", shape=(1, 64, 64, 3), dtype="uint8", layout="NHWC")
    ignored = pictures.read_preprocess({**to_json(spec), "crop_pct": 0.9})
    pixels = pictures.resize_and_crop(pictures.decode(content, ignored), ignored)
    assert (pixels[None] != prepare(content, spec, tensor)).any()


def test_preprocessing_of_another_version_is_refused() -> None:
    with pytest.raises(pictures.PictureError, match="of another version"):
        pictures.read_preprocess({**to_json(SPECS[0]), "gamma": 2})


def test_the_best_come_first() -> None:
    logits = np.array([[0.1, 0.9, -3.0, 0.5], [4.0, 3.0, 2.0, 1.0]])
    np.testing.assert_array_equal(pictures.best(logits, 2), [[1, 3], [0, 1]])
    np.testing.assert_array_equal(pictures.best(logits, 9), [[1, 3, 0, 2], [0, 1, 2, 3]])


class Recorder(Session):
    """A session that remembers what it was given."""

    outputs = (Tensor("features", (2, 5), "float32", "NC"), Tensor("logits", (2, 7), "float32", "NC"))

    def __init__(self) -> None:
        super().__init__((), ())
        self.seen: list[Any] = []

    def run(self, batch: Any) -> list[Any]:
        self.seen.append(batch)
        return [np.zeros((2, 5)), np.zeros((2, 7))]


def test_a_batch_takes_the_pictures_in_turn(tmp_path: Path) -> None:
    """Five pictures in batches of two: all are seen before anything counts, and none is left out later."""
    spec = SPECS[0]
    tensor = Tensor("x", (2, 64, 64, 3), "uint8", "NHWC")
    artifact = Artifact("a", "tflite", "x.tflite", tensor, "x.npy", preprocess=to_json(spec), logits="logits")
    contents = odd_pictures()[:5]
    session = Recorder()
    whole = EndToEnd(session, artifact, contents)
    warmed = len(session.seen)
    assert warmed * 2 >= len(contents)
    one = TensorSpec(name="x", shape=(1, 64, 64, 3), dtype="uint8", layout="NHWC")
    for _ in range(5):
        took = whole.sample()
        assert took == sum(times[-1] for times in whole.parts.values())
    expected = [prepare(contents[i % 5], spec, one)[0] for i in range(2 * len(session.seen))]
    np.testing.assert_array_equal(np.concatenate(session.seen), np.stack(expected))
