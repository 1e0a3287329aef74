"""``edgecvx inspect`` as it is typed: an artifact, or with ``--statistics`` a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from commands import CLASSES, fails

from edgecvx.board.device.processors import this_processor
from edgecvx.cli import main as cli
from edgecvx.manifest import manifest_path

if TYPE_CHECKING:
    from small_classifier import Exported


def test_inspect_tells_what_is_in_the_file(exported: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["inspect", str(exported), "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["macs"] == sum(group["macs"] for group in found["ops"]) > 0
    assert set(found["ops"][0]) == {"op", "dtype", "count", "const_bytes", "macs", "int8"}
    assert cli.run(["inspect", str(exported)]) == 0
    shown = capfd.readouterr().out
    assert "SHA-256 verified" in shown
    assert f"({this_processor().kind})" in shown  # where it was proved


def test_inspect_tells_what_the_native_engine_holds(
    native_classifier: Exported, capfd: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["inspect", str(native_classifier.path), "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert set(found["memory"]) == {"weights", "inner tensors"}
    assert found["int8_share"] > 0.7
    assert cli.run(["inspect", str(native_classifier.path)]) == 0
    assert "with one thread: weights " in capfd.readouterr().out


def test_an_artifact_with_a_flipped_byte_is_refused(
    exported: Path, picture: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / exported.name
    content = bytearray(exported.read_bytes())
    content[len(content) // 2] ^= 0x10
    copy.write_bytes(content)
    manifest_path(copy).write_bytes(manifest_path(exported).read_bytes())
    for command in (["predict", str(copy), str(picture)], ["inspect", str(copy)]):
        assert "SHA-256" in fails(command, capfd)


def test_a_manifest_of_another_version_is_refused(
    exported: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / exported.name
    copy.write_bytes(exported.read_bytes())
    data = json.loads(manifest_path(exported).read_text()) | {"schema_version": 99}
    manifest_path(copy).write_text(json.dumps(data))
    assert "manifest version 99" in fails(["inspect", str(copy)], capfd)


def test_statistics_print_one_json_object(checkpoint: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ["inspect", str(checkpoint), "--statistics", "--image-size", "32", "--calib-samples", "4", "--json"]
    assert cli.run(arguments) == 0
    printed = capfd.readouterr()
    found = json.loads(printed.out)
    assert found["model"]["num_classes"] == CLASSES and found["calibration"]["count"] == 4
    layer = found["layers"][1]
    assert layer["name"] == "stages.0.blocks.0.conv_dw"
    assert set(layer["left"]) == {"input", "weights", "output"}
    assert set(layer["reads"]) == set(layer["returns"]) == {"low", "high", "channels", "over_rms", "outliers"}
    assert {name for share in found["targets"] for name in share["targets"]} >= {"onnx", "tflite", "iphone"}
    assert any("calibrated on drawn pictures" in warning for warning in found["warnings"])
    assert "calibrated on drawn pictures" in printed.err


def test_statistics_are_a_table_and_sentences(checkpoint: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["inspect", str(checkpoint), "--statistics", "--image-size", "32", "--calib-samples", "4"]) == 0
    printed = capfd.readouterr()
    assert "convnextv2_custom.birds in INT8, on 4 drawn pictures" in printed.out
    assert "stages.3.blocks.0.mlp.fc2" in printed.out and "range/rms" in printed.out
    assert "4 pictures are too few" in printed.out and "coreml, iphone" in printed.out
    assert "calibrated on drawn pictures" in printed.err and "calibrated on" not in printed.out


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--weights", "demo"], "--weights: only --statistics asks for that"),
        (["--image-size", "32", "--calib-samples", "4"], "--image-size, --calib-samples: only --statistics"),
        (["--calib", "demo"], "--calib: only --statistics"),
        (["--statistics", "--gpu-delegate"], "--gpu-delegate asks about a .tflite file"),
        (["--statistics", "--weights", "demo"], "birds.safetensors already holds the weights"),
        (["--statistics", "--calib-samples", "0"], "--calib-samples 0 does not work"),
        (["--statistics", "--image-size", "33"], "image size 33 does not work"),
    ],
)
def test_options_that_do_not_go_together_are_one_line(
    options: list[str], says: str, checkpoint: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert says in fails(["inspect", str(checkpoint), *options], capfd)


def test_statistics_of_what_is_no_checkpoint_are_one_line(
    exported: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    for path in (exported, cut, tmp_path / "nowhere.safetensors"):
        assert path.name in fails(["inspect", str(path), "--statistics"], capfd)
