"""What the tests of several verbs start from: a checkpoint, an exported file, a picture."""

from __future__ import annotations

from pathlib import Path

import pytest
import support
from commands import CLASSES
from PIL import Image
from safetensors.torch import save_file

from edgecvx.cli import main as cli
from edgecvx.data.probe import probe_pictures


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fine-tuned network of 37 classes, as a user would have it: a file, and nothing beside it."""
    path = tmp_path_factory.mktemp("checkpoint") / "birds.safetensors"
    save_file(support.network(num_classes=CLASSES).state_dict(), str(path))
    return path


@pytest.fixture(scope="module")
def exported(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exported")
    labels = out / "labels.txt"
    labels.write_text("\n".join(f"bird {i}" for i in range(CLASSES)))
    arguments = ["export", str(checkpoint), "-t", "onnx", "--image-size", "64", "--labels", str(labels)]
    assert cli.run([*arguments, "--out", str(out)]) == 0
    return next(out.glob("*.onnx"))


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("picture") / "bird.png"
    Image.fromarray(probe_pictures(96)[1]).save(path)
    return path
