"""What is pushed to a model hub arrives as it was proved, in one commit, private, and never without its self-check."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import benchmark_sample as sample
import pytest
from commands import fails
from pretended_hub import COMMIT, TOKEN, Hub, Repository, header, pretended_hub
from small_classifier import Exported

from edgecvx.cli import main as cli
from edgecvx.errors import ArtifactError, PublishingError, UsageError
from edgecvx.latency.bench import as_json
from edgecvx.manifest import Manifest, manifest_path
from edgecvx.publishing.hub import contents, push
from edgecvx.report.forms.card import card
from edgecvx.spec import to_json

constants = pytest.importorskip("huggingface_hub.constants")
REPOSITORY = "somebody/drawn"
PUSH = """
import sys
from edgecvx.publishing.hub import push
print(push(sys.argv[2:], sys.argv[1]).url, "torch" in sys.modules)
"""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with pretended_hub() as found:
        monkeypatch.setattr(constants, "ENDPOINT", found.address)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield found


@pytest.fixture
def copy(small_classifier: Exported, tmp_path: Path) -> Path:
    """An artifact that a test may spoil."""
    for path in (small_classifier.path, manifest_path(small_classifier.path)):
        shutil.copy(path, tmp_path)
    return tmp_path / small_classifier.path.name


def test_what_arrives_is_what_lay_there_in_one_commit(small_classifier: Exported) -> None:
    """As a user has it: the hub named by HF_ENDPOINT, the token in HF_TOKEN, and the hub's own client in between."""
    path = small_classifier.path
    with pretended_hub() as hub:
        settings = {"HF_ENDPOINT": hub.address, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}
        command = [sys.executable, "-c", PUSH, REPOSITORY, str(path)]
        environment = {**os.environ, **settings}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{hub.address}/{REPOSITORY}/commit/{COMMIT} False", (
        "and no framework was loaded for it"
    )
    assert TOKEN not in done.stdout + done.stderr
    stored = hub.repositories[REPOSITORY]
    assert stored.private
    assert len(stored.commits) == 1
    assert path.name in stored.commits[0]
    beside = manifest_path(path)
    text = card({path: small_classifier.manifest})
    assert stored.files == {
        path.name: path.read_bytes(),
        beside.name: beside.read_bytes(),
        "README.md": text.encode(),
    }
    assert len(hub.objects) == 1, "the large one went over LFS"
    assert header(text)["library_name"] == "edgecvx"


def test_export_pushes_what_it_wrote_with_the_figures_of_these_bytes(
    small_classifier: Exported, hub: Hub, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out, results = tmp_path / "out", tmp_path / "results"
    results.mkdir()
    (results / "latency.json").write_text(as_json(sample.benchmark(sample.laptop())))
    (results / "cut.json").write_text("{")
    asked = ["export", str(small_classifier.checkpoint), "-t", "onnx", "--int8", "--image-size", "64"]
    asked += ["--calib-samples", "32", "--out", str(out), "--push", REPOSITORY, "--public", "--results", str(results)]
    assert cli.run([*asked, "--json"]) == 0
    printed = json.loads(capfd.readouterr().out)
    stored = hub.repositories[REPOSITORY]
    assert not stored.private
    assert set(stored.files) == {"README.md", *(path.name for path in out.iterdir())}
    assert sum(name.endswith(".plan.json") for name in stored.files) == 1
    assert printed["pushed"]["commit"] == COMMIT
    assert printed["pushed"]["private"] is False
    (warning,) = printed["pushed"]["warnings"]
    assert "cut.json" in warning
    assert b"Nothing was measured of these files" in stored.files["README.md"], "those results are about others"


def test_a_plan_of_another_file_stays_here(copy: Path, hub: Hub) -> None:
    copy.with_name(copy.stem + ".plan.json").write_text("{}")
    assert push(copy, REPOSITORY).files == (copy.name, manifest_path(copy).name, "README.md")


def test_nothing_is_pushed_whose_bytes_are_not_those_that_were_proved(copy: Path, hub: Hub) -> None:
    copy.write_bytes(copy.read_bytes()[:-1] + b"!")
    with pytest.raises(ArtifactError, match="another SHA-256"):
        push(copy, REPOSITORY)
    assert hub.asked == []


def test_nothing_is_pushed_that_did_not_pass_its_self_check(small_classifier: Exported, copy: Path, hub: Hub) -> None:
    manifest = small_classifier.manifest
    failed = dataclasses.replace(manifest.self_check, max_error=2 * manifest.self_check.limit)
    beside = manifest_path(copy)
    beside.write_text(json.dumps(to_json(dataclasses.replace(manifest, self_check=failed))))
    with pytest.raises(PublishingError, match="is not pushed: its self-check was"):
        push(copy, REPOSITORY)
    assert hub.asked == []


def test_a_repository_holds_one_model(small_classifier: Exported) -> None:
    manifest = small_classifier.manifest
    other = dataclasses.replace(manifest, model=dataclasses.replace(manifest.model, tag="another"))
    artifacts: dict[Path, Manifest] = {small_classifier.path: manifest, Path("other.onnx"): other}
    with pytest.raises(UsageError, match=r"a repository holds one model, not .*another and"):
        contents(artifacts)


def test_what_is_there_and_public_gets_no_file_without_being_told(copy: Path, hub: Hub) -> None:
    hub.repositories[REPOSITORY] = Repository(private=False)
    with pytest.raises(UsageError, match="is there and public: --public"):
        push(copy, REPOSITORY)
    assert hub.repositories[REPOSITORY].files == {}
    assert not push(copy, REPOSITORY, public=True).private
    assert copy.name in hub.repositories[REPOSITORY].files


def test_a_hub_steers_no_terminal(copy: Path, hub: Hub) -> None:
    hub.adds = "\x1b[2J"
    assert push(copy, REPOSITORY).url == f"{hub.address}/{REPOSITORY}/commit/{COMMIT} [2J"


def test_what_is_there_and_private_stays_so(copy: Path, hub: Hub) -> None:
    hub.repositories[REPOSITORY] = Repository(private=True)
    assert push(copy, REPOSITORY, public=True).private


@pytest.mark.parametrize("name", ["drawn", "a/b/c", "-a/b", "a/..", "somebody/", "https://hub/a/b", ""])
def test_a_name_that_is_none_is_refused_before_anything_is_exported(
    name: str, hub: Hub, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    line = fails(["export", "atto", "-t", "onnx", "--out", str(tmp_path / "out"), "--push", name], capfd)
    assert "is no name of a repository: it is owner/name" in line
    assert hub.asked == []
    assert not (tmp_path / "out").exists()


def test_without_a_token_nothing_is_exported_either(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    line = fails(["export", "atto", "-t", "onnx", "--out", str(tmp_path / "out"), "--push", REPOSITORY], capfd)
    assert "there is no token" in line
    assert not (tmp_path / "out").exists()


def test_public_without_push_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    assert "--public goes with --push" in fails(["export", "atto", "-t", "onnx", "--public"], capfd)


@pytest.mark.parametrize(
    ("status", "says"),
    [(401, "does not know this token"), (403, "the right to write, and somebody/drawn"), (418, "answered 418")],
)
def test_a_hub_that_refuses_is_a_sentence_without_the_token(copy: Path, hub: Hub, status: int, says: str) -> None:
    hub.refuses = status
    with pytest.raises(PublishingError, match=says) as caught:
        push(copy, REPOSITORY)
    assert "the files stay where they are" in str(caught.value)
    assert TOKEN not in str(caught.value)


def test_a_header_that_the_hub_does_not_take_is_told(copy: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgecvx.publishing.hub.card", lambda *_: '---\nlicense: "my own"\n---\n')
    with pytest.raises(PublishingError, match=r'does not take it .*"license" must be one of them, not my own'):
        push(copy, REPOSITORY)
    assert hub.repositories[REPOSITORY].commits == []


def test_without_a_network_the_export_stays(
    small_classifier: Exported,
    hub: Hub,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    asked = ["export", str(small_classifier.checkpoint), "-t", "onnx", "--image-size", "64", "--out", str(tmp_path)]
    line = fails([*asked, "--push", REPOSITORY, "--json"], capfd)
    assert "was not pushed: the hub cannot be reached (ConnectError); the files stay where they are" in line
    assert len(list(tmp_path.glob("*.onnx"))) == len(list(tmp_path.glob("*.edgecvx.json"))) == 1
