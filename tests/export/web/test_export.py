"""From a checkpoint to a folder that a browser opens, as a user asks for it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from commands import fails
from native_artifacts import exported_again

import edgecvx
from edgecvx.cli import main as cli
from edgecvx.data import demo
from edgecvx.errors import UsageError
from edgecvx.export.web.lower import BROWSERS
from edgecvx.files import verify_files
from edgecvx.pipeline import export

if TYPE_CHECKING:
    from small_classifier import Exported

pytestmark = pytest.mark.usefixtures("native_library")


def test_an_artifact_is_the_native_engines_file_and_the_engine_for_every_browser(
    site: Exported, native_classifier: Exported
) -> None:
    """The file is the same to the byte: what was validated here is what a phone runs."""
    manifest, stem = site.manifest, site.path.stem
    assert [entry.path for entry in manifest.files] == [site.path.name, *(f"{stem}.{name}.wasm" for name in BROWSERS)]
    assert site.path.read_bytes() == native_classifier.path.read_bytes()
    verify_files(manifest, site.path.parent)
    assert (manifest.target, manifest.format, manifest.runtime) == ("web", "native", "native")
    assert "in a browser the page asks the file again" in manifest.self_check.note


def test_it_answers_here_like_any_native_artifact(site: Exported, native_classifier: Exported) -> None:
    drawn = [demo.picture(index, size=64)[0] for index in range(6)]
    with edgecvx.load(site.path) as there, edgecvx.load(native_classifier.path) as here:
        assert there.predict(drawn) == here.predict(drawn)


def test_a_site_beside_another_target_in_one_folder(native_classifier: Exported, tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    words = ["export", str(native_classifier.checkpoint), "--target", "web,tflite", "--int8", "--image-size", "64"]
    plan = next(native_classifier.path.parent.glob("*.plan.json"))
    assert cli.run([*words, "--plan", str(plan), "--out", str(tmp_path)]) == 0
    (model,) = json.loads((tmp_path / "models.json").read_bytes())["models"]
    assert (tmp_path / f"{model['name']}.tflite").is_file()


def test_who_exported_is_told_how_large_it_is_and_how_to_look_at_it(
    native_classifier: Exported, tmp_path: Path
) -> None:
    (note,) = exported_again(native_classifier, tmp_path, target="web").notes
    assert note.startswith(f"{tmp_path} is a site: its page and engine are ")
    assert note.endswith(f" MB; to try it: python -m http.server --directory {tmp_path}")


def test_the_same_export_gives_the_same_bytes_of_every_file(native_classifier: Exported, tmp_path: Path) -> None:
    def hashes(folder: Path) -> dict[str, str]:
        exported_again(native_classifier, folder, target="web")
        found = sorted(path for path in folder.rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}

    first = hashes(tmp_path / "a")
    assert first == hashes(tmp_path / "b") == hashes(tmp_path / "a")


def test_phones_get_int8_alone(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="target web has no fp32: it has int8; fp32 is in onnx"):
        export("atto", target="web", weights="demo", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_two_targets_of_one_file_want_two_folders(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="targets native and web write a file of the same name"):
        export("atto", target=["native", "web"], precision="int8", weights="demo", out=tmp_path / "out")


def test_a_site_without_the_engine_every_browser_runs_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["export", "atto", "--target", "web", "--int8", "--weights", "demo", "--out", str(tmp_path / "out")]
    told = fails([*words, "--platform", "aarch64-linux"], capfd)
    assert "target web needs the engine for browsers: say --platform wasm32,aarch64-linux, or leave it out" in told
    assert not (tmp_path / "out").exists()


def test_an_engine_for_a_board_may_lie_in_a_site(native_classifier: Exported, tmp_path: Path) -> None:
    artifact = exported_again(native_classifier, tmp_path, target="web", platforms=["wasm32", "aarch64-ios"])
    (model,) = json.loads((tmp_path / "models.json").read_bytes())["models"]
    assert list(model["engines"]) == ["wasm32"]
    assert {Path(entry.path).suffix for entry in artifact.manifest.files} == {".ecvx", ".wasm", ".c", ".h"}
    assert not any(name.endswith((".c", ".h")) for name in model["sha256"])


def test_somebodys_own_page_is_not_replaced_and_nothing_is_done_before_that_is_known(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "index.html").write_text("<!doctype html><title>mine</title>")
    told = fails(["export", "no such model", "-t", "web", "--int8", "--out", str(tmp_path)], capfd)
    assert f"{tmp_path / 'index.html'} is not edgecvx's, and a site would replace it" in told
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]


def test_the_command_line_names_the_target(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["targets", "--json"]) == 0
    (web,) = (t for t in json.loads(capsys.readouterr().out)["targets"] if t["name"] == "web")
    assert web["suffix"] == ".ecvx" and web["floats"] == [] and list(web["schemes"]) == ["int8"]
    assert "Safari 16.4" in web["note"]
