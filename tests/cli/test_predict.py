"""``edgecvx predict`` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import support
import torch
from commands import CLASSES
from PIL import Image

from edgecvx.cli import main as cli
from edgecvx.data.preprocess import load_picture, normalize, resize_and_crop
from edgecvx.manifest import read_manifest


def test_predict_names_the_classes(exported: Path, picture: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["predict", str(exported), str(picture), "--top", "3", "--json"]) == 0
    (answer,) = json.loads(capfd.readouterr().out)["answers"]
    assert [row["label"].split()[0] for row in answer["classes"]] == ["bird"] * 3
    probabilities = [row["probability"] for row in answer["classes"]]
    assert probabilities == sorted(probabilities, reverse=True)


def test_predict_goes_on_past_a_bad_picture(
    exported: Path, picture: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"\xff\xd8 not a picture")
    thin = tmp_path / "thin.png"
    Image.new("RGB", (20_000, 1)).save(thin)
    assert cli.run(["predict", str(exported), str(bad), str(thin), str(picture), "--json"]) == 2
    answers = json.loads(capfd.readouterr().out)["answers"]
    assert "bad.jpg" in answers[0]["error"]
    assert "thin.png" in answers[1]["error"]
    assert answers[2]["classes"][0]["label"].startswith("bird")


def test_the_answer_is_the_networks(exported: Path, picture: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """End to end: the command's logits are those of the PyTorch network on the picture as timm prepares it."""
    assert cli.run(["predict", str(exported), str(picture), "--top", str(CLASSES), "--json"]) == 0
    (answer,) = json.loads(capfd.readouterr().out)["answers"]
    logits = np.empty(CLASSES)
    for row in answer["classes"]:
        logits[row["index"]] = row["logit"]
    spec = read_manifest(exported).model.preprocess
    pixels = normalize(resize_and_crop(load_picture(picture, spec), spec), spec)
    with torch.inference_mode():
        expected = support.network(num_classes=CLASSES)(torch.from_numpy(pixels).permute(2, 0, 1)[None])
    support.assert_close(logits, expected[0].numpy(), 1e-4, why="float32 sums in another order")
