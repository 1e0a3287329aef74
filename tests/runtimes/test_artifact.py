"""An open artifact: its file is what the manifest says, or it is not opened."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import support
from safetensors.torch import save_file

from edgecvx.data.probe import probe_pictures
from edgecvx.errors import ArtifactError
from edgecvx.manifest import manifest_path
from edgecvx.pipeline import export
from edgecvx.runtimes.artifact import load


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    save_file(support.network().state_dict(), str(folder / "small.safetensors"))
    return export(folder / "small.safetensors", target="onnx", image_size=64, batch=3, out=folder).artifacts[0].path


@pytest.fixture
def artifact(exported: Path, tmp_path: Path) -> Path:
    """A copy whose manifest a test may change."""
    for path in (exported, manifest_path(exported)):
        shutil.copy(path, tmp_path)
    return tmp_path / exported.name


def test_any_number_of_pictures_goes_through_a_file_of_batch_three(artifact: Path) -> None:
    pictures = list(probe_pictures(64))[:4]
    with load(artifact) as opened:
        together = opened.predict(pictures)
        assert together == [opened.predict([picture])[0] for picture in pictures]


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: d["input"] | {"shape": [0, 3, 64, 64]},
        lambda d: d["input"] | {"shape": [10**9, 3, 64, 64]},
        lambda d: d["input"] | {"dtype": "uint8"},
        lambda d: d["input"] | {"layout": "NHWC"},
    ],
)
def test_a_manifest_that_describes_another_input_is_refused(
    artifact: Path, damage: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    path = manifest_path(artifact)
    facts = json.loads(path.read_text())
    path.write_text(json.dumps(facts | {"input": damage(facts)}))
    with pytest.raises(ArtifactError, match="'image', float32 \\[3, 3, 64, 64\\] in NCHW, which its manifest does not"):
        load(artifact)


def test_a_manifest_that_describes_another_output_is_refused(artifact: Path) -> None:
    path = manifest_path(artifact)
    facts = json.loads(path.read_text())
    ((output,), proof) = facts["outputs"], facts["proof"]
    renamed = {"name": "answers"}
    proved = proof | {"outputs": [proof["outputs"][0] | renamed]}
    path.write_text(json.dumps(facts | {"outputs": [output | renamed], "proof": proved}))
    with pytest.raises(ArtifactError, match=r"'logits'.*does not describe"):
        load(artifact)
    proved = proof | {"outputs": proof["outputs"] * 2}
    path.write_text(json.dumps(facts | {"outputs": [output] * 2, "proof": proved}))
    with pytest.raises(ArtifactError, match="not in the file"):
        load(artifact)
