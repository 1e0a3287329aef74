"""An open artifact answers as transformers' pipeline for image classification does, to the score."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from modules_in_memory import LABELS, of_transformers, processor
from PIL import Image

import edgecvx
from edgecvx.data import demo
from edgecvx.errors import UsageError

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "a.png"
    Image.fromarray(demo.picture(3, stream="validation", size=64)[0]).save(path)
    return path


def test_a_picture_gives_a_list_and_a_list_of_them_a_list_of_lists(small_classifier: Any, picture: Path) -> None:
    pixels = np.asarray(Image.open(picture))
    with edgecvx.load(small_classifier.path) as model:
        answer = model(picture)
        assert [set(found) for found in answer] == [{"label", "score"}] * 5
        assert answer == model(str(picture)) == model(Image.open(picture)) == model(pixels)
        assert model([picture, pixels], top_k=2) == [answer[:2], answer[:2]]
        assert model([]) == []
        assert sum(found["score"] for found in model(picture, top_k=1000)) == pytest.approx(1)


def test_no_class_cannot_be_asked_for(small_classifier: Any, picture: Path) -> None:
    with edgecvx.load(small_classifier.path) as model, pytest.raises(UsageError, match="0 classes of a picture"):
        model(picture, top_k=0)


def test_the_answers_are_those_of_the_pipeline_it_replaces(tmp_path: Path, picture: Path) -> None:
    transformers = pytest.importorskip("transformers")
    model, preparing = of_transformers().eval(), processor()
    pipe = transformers.pipeline("image-classification", model=model, image_processor=preparing, device="cpu")
    (artifact,) = edgecvx.export(model, target="onnx", preprocess=preparing, out=tmp_path).artifacts
    with edgecvx.load(artifact.path) as ours:
        for theirs, found in zip(pipe(str(picture), top_k=3), ours(str(picture), top_k=3), strict=True):
            assert found["label"] == theirs["label"]
            assert found["score"] == pytest.approx(theirs["score"], rel=1e-4)  # resized in floats there, in bytes here
            assert found["label"] in LABELS
