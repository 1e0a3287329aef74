"""Where a file is to run, from what a user says to the options of the lowering, for targets that have platforms."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from commands import fails

import edgecvx
from edgecvx import pipeline
from edgecvx.cli import main as cli
from edgecvx.errors import UsageError
from edgecvx.export.base import Lowered
from edgecvx.export.onnx import lower
from edgecvx.export.onnx.lower import OnnxOptions
from edgecvx.native.platforms import this_platform
from edgecvx.spec import Precision
from edgecvx.targets import get_target
from edgecvx.targets.base import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class WithPlatforms(OnnxOptions):
    """What a format's options are, where its artifacts bring a library per platform."""

    platforms: tuple[str, ...] = ()


@pytest.fixture
def target(monkeypatch: pytest.MonkeyPatch) -> Target:
    """ONNX as a target with platforms, beside every other as it is."""
    monkeypatch.setattr(lower, "WithPlatforms", WithPlatforms, raising=False)
    onnx = get_target("onnx")
    changed = dataclasses.replace(
        onnx, format=dataclasses.replace(onnx.format, options="edgecvx.export.onnx.lower:WithPlatforms")
    )
    monkeypatch.setattr(pipeline, "get_target", lambda name: changed if name == "onnx" else get_target(name))
    return changed


@pytest.fixture
def asked(target: Target, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The platforms each lowering was asked for."""
    real, found = lower.lower, list[tuple[str, ...]]()

    def noting(graph: Any, options: WithPlatforms) -> Lowered:
        found.append(options.platforms)
        lowered = real(graph, options)
        libraries: Mapping[str, bytes] = {f".{name}.so": name.encode() for name in options.platforms}
        return dataclasses.replace(lowered, files={**lowered.files, **libraries})

    monkeypatch.setattr(lower, "lower", noting)
    return found


def export(out: Path, **more: Any) -> pipeline.ExportResult:
    return edgecvx.export("atto", weights="random", image_size=64, out=out, **{"target": "onnx", **more})


@pytest.mark.parametrize(
    ("platforms", "expected"),
    [
        (["wasm32", "aarch64-linux", "wasm32"], ("wasm32", "aarch64-linux")),
        ("wasm32", ("wasm32",)),
        ([], (this_platform().name,)),
    ],
    ids=["several", "one", "none said"],
)
def test_platforms_reach_the_lowering_and_their_files_the_artifact(
    asked: list[tuple[str, ...]], tmp_path: Path, platforms: str | Sequence[str], expected: tuple[str, ...]
) -> None:
    (artifact,) = export(tmp_path, platforms=platforms).artifacts
    assert asked == [expected]
    stem = artifact.path.name.removesuffix(".onnx")
    assert {f"{stem}.{name}.so" for name in expected} < {entry.path for entry in artifact.manifest.files}


def test_on_the_command_line_they_are_written_with_commas(asked: list[tuple[str, ...]], tmp_path: Path) -> None:
    words = ["export", "atto", "--weights", "random", "--image-size", "64", "-t", "onnx", "--out", str(tmp_path)]
    assert cli.run([*words, "--platform", "wasm32, aarch64-ios"]) == 0
    assert asked == [("wasm32", "aarch64-ios")]


def test_a_target_without_platforms_is_left_alone_beside_one_that_has_them(
    asked: list[tuple[str, ...]], tmp_path: Path
) -> None:
    found = export(tmp_path, target=["onnx", "openvino"], platforms=["wasm32"])
    assert asked == [("wasm32",)]
    assert len(found.artifacts[1].manifest.files) == 2  # .xml and .bin


def test_a_device_that_says_where_it_is_takes_that(target: Target) -> None:
    board = dataclasses.replace(target, settings={"platforms": ("aarch64-linux",)})
    assert board.options(Precision.FP32).platforms == ("aarch64-linux",)
    assert board.options(Precision.FP32, ("wasm32",)).platforms == ("wasm32",)


@pytest.mark.usefixtures("target")
def test_an_unknown_platform_is_refused_before_any_file_is_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown platform 'wasm': did you mean wasm32"):
        export(tmp_path / "out", platforms=["wasm32", "wasm"])
    assert not (tmp_path / "out").exists()


def test_platforms_for_targets_that_have_none_are_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="--platform wasm32 is for targets native and web: onnx and openv"):
        export(tmp_path / "out", target=["onnx", "openvino"], platforms=["wasm32"])
    words = ["export", "atto", "--weights", "random", "-t", "tflite", "--platform", "wasm32"]
    assert "is for targets native and web: tflite has none" in fails([*words, "--out", str(tmp_path / "out")], capfd)
    assert not (tmp_path / "out").exists()
