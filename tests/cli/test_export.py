"""``edgecvx export`` as it is typed: files and one JSON object, one line per error, nothing half-written."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
import support
import torch
from commands import CLASSES, fails
from safetensors.torch import save_file

from edgecvx.cli import export
from edgecvx.cli import main as cli
from edgecvx.manifest import manifest_path
from edgecvx.quantize.observe.estimators import ESTIMATORS
from edgecvx.quantize.plan import Engine


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_export_writes_the_file_and_its_manifest(exported: Path) -> None:
    assert exported.name == "convnextv2_custom.birds-64-fp32.onnx"
    manifest = json.loads(manifest_path(exported).read_text())
    assert manifest["model"]["num_classes"] == CLASSES
    assert manifest["model"]["labels"][5] == "bird 5"
    assert manifest["self_check"]["max_error"] < 1e-4


def test_export_prints_one_json_object(checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ["export", str(checkpoint), "-t", "onnx", "--image-size", "64", "--out", str(tmp_path), "--json"]
    assert cli.run(arguments) == 0
    printed = json.loads(capfd.readouterr().out)
    (artifact,) = printed["artifacts"]
    assert Path(artifact["path"]).is_file()
    assert artifact["manifest"] == json.loads(manifest_path(Path(artifact["path"])).read_text())
    assert any("does not say how its pictures were prepared" in warning for warning in printed["warnings"])


def test_a_card_is_written_beside_the_files_when_asked_for(checkpoint: Path, tmp_path: Path) -> None:
    asked = ["export", str(checkpoint), "-t", "onnx", "--image-size", "64", "--out", str(tmp_path), "--card"]
    assert cli.run(asked) == 0
    (card,) = tmp_path.glob("*.card.md")
    (entry,) = json.loads(next(tmp_path.glob("*.edgecvx.json")).read_text())["files"]
    assert entry["sha256"] in card.read_text(encoding="utf-8")


def test_results_without_a_card_are_refused(checkpoint: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["export", str(checkpoint), "-t", "onnx", "--results", "r"]) == 2
    assert "--results goes with --card" in capfd.readouterr().err


def test_the_same_call_gives_the_same_bytes(checkpoint: Path, tmp_path: Path) -> None:
    """In processes of their own, with other hash seeds: nothing may depend on the order of a set or the day."""
    results = []
    for seed in ("1", "2"):
        out = tmp_path / seed
        command = [sys.executable, "-c", "from edgecvx.cli.main import main; main()", "export", str(checkpoint)]
        command += ["-t", "onnx", "--image-size", "64", "--out", str(out)]
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONHASHSEED": seed})
        results.append(contents(out))
    assert results[0] == results[1]
    assert len(results[0]) == 2


class Wicked:
    """What unpickling this would do, no test survives."""

    def __reduce__(self) -> tuple[object, tuple[int]]:
        return os._exit, (7,)


def wicked_pickle(folder: Path) -> Path:
    path = folder / "wicked.pth"
    path.write_bytes(pickle.dumps(Wicked()))
    return path


def wicked_zip(folder: Path) -> Path:
    """The same inside PyTorch's own container."""
    path = folder / "wicked.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Wicked()))
        archive.writestr("archive/version", "3\n")
    return path


def truncated(folder: Path) -> Path:
    path = folder / "cut.safetensors"
    save_file(support.network().state_dict(), str(path))
    path.write_bytes(path.read_bytes()[:-1000])
    return path


def another_network(folder: Path) -> Path:
    path = folder / "resnet.safetensors"
    save_file({"layer1.0.conv1.weight": torch.zeros(64, 64, 3, 3), "fc.bias": torch.zeros(10)}, str(path))
    return path


def missing(folder: Path) -> Path:
    return folder / "nowhere.safetensors"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (missing, "nowhere.safetensors"),
        (truncated, "cut.safetensors"),
        (another_network, "resnet.safetensors"),
        (wicked_pickle, "wicked.pth"),
        (wicked_zip, "wicked.pt"),
    ],
)
def test_a_bad_checkpoint_is_one_line(
    make: object, says: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = make(tmp_path)  # type: ignore[operator]
    out = tmp_path / "out"
    line = fails(["export", str(path), "-t", "onnx", "--out", str(out)], capfd)
    assert says in line
    assert not out.exists() or not contents(out)


def test_a_network_without_classifier_does_not_classify(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    tensors = {name: t for name, t in support.network().state_dict().items() if not name.startswith("head.fc")}
    save_file(tensors, str(tmp_path / "backbone.safetensors"))
    export = ["export", str(tmp_path / "backbone.safetensors"), "-t", "onnx", "--image-size", "64"]
    out = ["--out", str(tmp_path / "out")]
    assert "backbone.safetensors has no classifier: ask for --task features" in fails([*export, *out], capfd)
    assert not (tmp_path / "out").exists()
    assert cli.run([*export, *out, "--task", "embed"]) == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["fmto"], "did you mean femto"),
        (["femto", "-t", "tflit"], "did you mean tflite"),
        (["femto", "--weights", "random", "--image-size", "225"], "must be a multiple of 32"),
        (["femto", "--weights", "random", "--batch", "0"], "batch 0"),
        (["femto", "--weights", "random", "--precision", "int3"], "int3"),
        (["femto", "--weights", "random", "--precision", "fp32", "--fp16"], "one precision, not fp16 and fp32"),
        (["femto", "--weights", "imagenet"], "timm/convnextv2_femto.fcmae_ft_in1k"),
        (["convnext_atto_ols", "--weights", "random", "--input", "uint8"], "use --input float"),
        (["femto", "-t", "tflite,raspberrypi5"], "a file of the same name"),
        (["femto", "--weights", "random", "--seed", str(2**64)], f"seed {2**64}"),
    ],
)
def test_a_bad_request_is_one_line(
    arguments: list[str], says: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    target = [] if "-t" in arguments else ["-t", "onnx"]
    assert says in fails(["export", *arguments, *target, "--out", str(tmp_path)], capfd)
    assert not contents(tmp_path)


def test_a_file_is_no_folder_to_export_to(checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "taken").write_text("mine")
    for option in ("--out", "--dump"):
        line = fails(["export", str(checkpoint), "-t", "onnx", option, str(tmp_path / "taken")], capfd)
        assert "taken is a file" in line
    assert (tmp_path / "taken").read_text() == "mine"


def test_memory_that_is_not_there_is_one_line(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def greedy(*_: object, **__: object) -> None:
        raise MemoryError("Unable to allocate 4.47 TiB")

    monkeypatch.setattr("edgecvx.pipeline.export", greedy)
    line = fails(["export", str(checkpoint), "-t", "onnx", "--batch", "100000000"], capfd)
    assert "smaller --batch" in line
    assert "4.47 TiB" in line


def test_labels_that_do_not_fit_are_refused(
    checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("one\ntwo\n")
    out = tmp_path / "out"
    line = fails(["export", str(checkpoint), "-t", "onnx", "--labels", str(labels), "--out", str(out)], capfd)
    assert "2" in line
    assert "37" in line
    assert not out.exists()


HELD = """
import contextlib, sys, time
from edgecvx import __main__
from edgecvx.cli import show

step, progress = int(sys.argv.pop(1)), show.progress

def hold(*_):
    time.sleep(3600)

@contextlib.contextmanager
def held():
    with progress() as tell:
        def tell_until(at):
            if at.index == step and not at.part:
                hold()
            tell(at)
            if at.index + 1 == step:
                sys.modules["edgecvx.pipeline"].publish = hold
        yield tell_until

show.progress = held
__main__.main()
"""
"""The command, which neither ends a step nor publishes in it, however late the signal comes that stops it there."""


@pytest.mark.parametrize(
    ("sent", "step"),
    [(signal.SIGINT, 1), (signal.SIGINT, 4), (signal.SIGINT, 6), (signal.SIGTERM, 4), (signal.SIGHUP, 3)],
)
def test_a_stopped_export_leaves_what_was_there(
    checkpoint: Path, tmp_path: Path, sent: signal.Signals, step: int
) -> None:
    """Stopped while it imports, checks and writes: by Ctrl-C, a polite kill, or a terminal that is closed."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "convnextv2_custom.birds-64-fp32.onnx").write_bytes(b"from an earlier export")
    words = ["export", str(checkpoint), "-t", "onnx,openvino", "--image-size", "64", "--out", str(out)]
    process = subprocess.Popen([sys.executable, "-c", HELD, str(step), *words], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    while not (line := process.stderr.readline()).startswith(f"[{step}/6]"):
        assert line, "ended before it got there"
    process.send_signal(sent)
    last = process.stderr.read().splitlines()[-1]
    process.stderr.close()
    assert process.wait() == 2
    assert last.startswith("error: stopped")
    left = contents(out)
    if step < 6:  # by step 6 the ONNX file is proved and published
        assert left == {"convnextv2_custom.birds-64-fp32.onnx": b"from an earlier export"}
    else:
        assert sorted(left) == [
            "convnextv2_custom.birds-64-fp32.onnx",
            "convnextv2_custom.birds-64-fp32.onnx.edgecvx.json",
        ]


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 640 kB."""
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("mounting a small disk takes root")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=640k", "tmpfs", str(disk)], check=False)
    if mounted.returncode != 0:
        pytest.skip("no permission to mount here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_is_one_line_and_costs_nothing(
    checkpoint: Path, tiny_disk: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    common = ["export", str(checkpoint), "--image-size", "64", "--out", str(tiny_disk)]
    assert cli.run([*common, "-t", "onnx"]) == 0
    before = contents(tiny_disk)
    (tiny_disk / "ballast").write_bytes(bytes(640_000 - sum(map(len, before.values())) - 60_000))
    assert "no space left on the disk" in fails([*common, "-t", "openvino"], capfd)
    (tiny_disk / "ballast").unlink()
    assert contents(tiny_disk) == before


def test_the_command_line_knows_every_choice_of_the_core() -> None:
    """Its enumerations stand apart so that its start imports no numpy; they may not fall behind."""
    assert [e.value for e in export.Quantizer] == list(get_args(Engine))
    assert {e.value for e in export.RangeEstimator} == set(ESTIMATORS)
