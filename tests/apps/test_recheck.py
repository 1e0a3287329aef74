"""The live command with a file that was proved on another class of processors: checked before anything starts."""

from __future__ import annotations

import contextlib
import io
import shutil
from pathlib import Path

import pytest
import support
from proofs import proved_elsewhere

from edgecvx.board.device.processors import this_processor
from edgecvx.manifest import manifest_path, read_manifest
from edgecvx.runtimes.proof import question
from edgecvx_live import main
from edgecvx_live.main import run


@pytest.fixture
def artifact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small network in ONNX, exported here, with a cache of its own."""
    pytest.importorskip("onnxruntime")
    save_file = pytest.importorskip("safetensors.torch").save_file
    from edgecvx.pipeline import export

    monkeypatch.setenv("EDGECVX_CACHE", str(tmp_path / "cache"))
    save_file(support.network(num_classes=3).state_dict(), str(tmp_path / "small.safetensors"))
    return export(tmp_path / "small.safetensors", target="onnx", image_size=64, out=tmp_path).artifacts[0].path


def live(*artifacts: Path) -> tuple[int, str]:
    """The exit code and standard error of a short run."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
        code = run([*map(str, artifacts), "--headless", "--frames", "1"])
    return code, said.getvalue()


def test_it_is_told_once_and_remembered(artifact: Path) -> None:
    proved_elsewhere(artifact)
    told = f"{artifact.name} was not proved on this class of processors ({this_processor().kind}): checking it once\n"
    code, said = live(artifact)
    assert code == 0 and told in said
    assert question(read_manifest(artifact)).remembered() is not None
    code, said = live(artifact)
    assert code == 0 and "not proved" not in said


def test_where_it_was_proved_nothing_is_said(artifact: Path) -> None:
    code, said = live(artifact)
    assert code == 0 and "not proved" not in said


@pytest.mark.parametrize("place", ["first", "second"])
def test_a_file_that_computes_something_else_ends_the_command(
    place: str, artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 2, before a frame is taken; also where it would be shown only when somebody chooses it."""
    monkeypatch.setattr(main, "_run", lambda *_: pytest.fail("it started"))
    (tmp_path / "wrong").mkdir()
    wrong = tmp_path / "wrong" / artifact.name
    for path in (artifact, manifest_path(artifact)):
        shutil.copy(path, wrong.parent)
    proved_elsewhere(wrong, off=0.2)
    files = [wrong, artifact] if place == "first" else [artifact, wrong]
    code, said = live(*files)
    assert code == 2
    assert f"edgecvx-live: {artifact.name} computes something else on this processor" in said
