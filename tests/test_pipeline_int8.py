"""INT8, from a checkpoint to a file: one plan for all targets, and every bad calibration told."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import support
import torch
from PIL import Image
from safetensors.torch import save_file

from edgecvx.accuracy.validate import validate
from edgecvx.cli import main as cli
from edgecvx.data.demo import picture
from edgecvx.errors import EdgecvxError, SelfCheckError, UsageError
from edgecvx.export.formats import get_format
from edgecvx.inspection.artifact import inspect
from edgecvx.manifest import read_manifest
from edgecvx.pipeline import ExportResult, Step, export
from edgecvx.quantize import judge
from edgecvx.quantize.plan import read_plan
from edgecvx.quantize.planning import FEWEST, HELD_OUT
from edgecvx.spec import Precision

TARGETS = ("onnx", "openvino", "tflite", "coreml")
PLAN = "convnextv2_atto.demo-64-int8.plan.json"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def atto(out: Path, **options: object) -> ExportResult:
    """The trained atto at a quick size, calibrated on a few drawn pictures."""
    chosen = {"target": TARGETS, "calib_samples": 32, **options}
    if "plan" in options or options.get("precision") == "int8-dynamic":
        del chosen["calib_samples"]
    return export("atto", **{"weights": "demo", "precision": "int8", "image_size": 64, "out": out, **chosen})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ExportResult]:
    out = tmp_path_factory.mktemp("int8")
    return out, atto(out)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 20 drawn pictures, some of them in two sub-folders."""
    folder = tmp_path_factory.mktemp("pictures")
    for index in range(20):
        path = folder / ("a" if index % 2 else "b") / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(picture(index, stream="train", size=80)[0]).save(path)
    return folder


def test_one_call_writes_every_target_from_one_plan(exported: tuple[Path, ExportResult]) -> None:
    out, result = exported
    assert tuple(a.target for a in result.artifacts) == TARGETS and len(TARGETS) == 4
    plan = read_plan(out / PLAN)
    assert plan.calibration.count == 32 and plan.agreement is not None
    for artifact in result.artifacts:
        quantized = artifact.manifest.quantized
        assert quantized is not None and quantized.plan_sha256 == plan.sha256
        assert quantized.calibration == plan.calibration
        assert artifact.manifest.self_check.against == "plan"
        assert quantized.cosine is not None and quantized.cosine > 0.99, artifact.target
    assert not [w for w in result.warnings if "gains next to nothing" not in w]  # which depends on the processor


def test_a_file_tells_what_of_it_is_int8(exported: tuple[Path, ExportResult]) -> None:
    for artifact in exported[1].artifacts:
        found = inspect(artifact.path)
        assert found.integer_share >= 0.95, artifact.target
        assert found.manifest.kept_float, "what stays float, and why"
        assert found.total_bytes <= 0.3 * found.manifest.quantized.fp32_bytes  # type: ignore[union-attr]


def test_int8_answers_like_fp32(exported: tuple[Path, ExportResult], tmp_path: Path) -> None:
    """A sample: the whole figures, over 2,000 pictures, are in docs/quantization.md."""
    quick = [a.path for a in exported[1].artifacts if a.target != "coreml"]
    found = validate(quick, limit=48, threads=1, cache_dir=tmp_path)
    for outcome in found.artifacts:
        assert outcome.error is None
        assert outcome.answers is not None and outcome.answers.flips <= 3, outcome.identity.target  # 1% in the long run


def test_a_plan_used_again_gives_the_same_bytes(exported: tuple[Path, ExportResult], tmp_path: Path) -> None:
    out, _ = exported
    again = atto(tmp_path, plan=out / PLAN)
    for artifact in again.artifacts:
        for entry in artifact.manifest.files:
            assert (tmp_path / entry.path).read_bytes() == (out / entry.path).read_bytes()
        manifest = f"{artifact.path.name}.edgecvx.json"
        assert (tmp_path / manifest).read_bytes() == (out / manifest).read_bytes()
    assert not (tmp_path / PLAN).exists()


def test_a_plan_that_is_wrong_is_told(exported: tuple[Path, ExportResult], tmp_path: Path) -> None:
    """A file can do exactly what its plan says and answer nonsense: FP32 is asked again."""
    data = json.loads((exported[0] / PLAN).read_text())
    for layer in data["layers"].values():
        layer["input"]["symmetric"]["scale"] = layer["input"]["asymmetric"]["scale"] = 1e-6
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps(data))
    (warning,) = atto(tmp_path, plan=plan, target="onnx").warnings
    assert "other answers than FP32" in warning


def test_a_plan_that_does_not_hold_is_told_with_where_to_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "HOLDS", 100.0)
    warnings = atto(tmp_path, target="onnx", calib_samples=FEWEST * HELD_OUT).warnings
    (warning,) = (w for w in warnings if w.startswith("INT8 does not hold"))
    assert "edgecvx inspect --statistics" in warning


def test_the_same_pictures_give_the_same_plan_and_are_shown_one_by_one(
    exported: tuple[Path, ExportResult], tmp_path: Path
) -> None:
    seen: list[Step] = []
    atto(tmp_path, target="onnx", on_step=seen.append)
    assert (tmp_path / PLAN).read_bytes() == (exported[0] / PLAN).read_bytes()
    parts = [step.part for step in seen if step.name.startswith("calibrating on 32 drawn pictures")]
    assert parts[0] == 0 and parts[-1] == 1 and sorted(parts) == parts
    assert len(parts) == 32, "the one that is held out is no step of its own"
    assert {step.total for step in seen} == {5}


def test_a_plan_is_for_one_network(exported: tuple[Path, ExportResult], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="image size 64, not 96"):
        atto(tmp_path, plan=exported[0] / PLAN, image_size=96)
    with pytest.raises(UsageError, match="input float, not uint8"):
        atto(tmp_path, plan=exported[0] / PLAN, input_kind="uint8")
    with pytest.raises(UsageError, match="made for model"):
        export("femto", target="onnx", weights="demo", precision="int8", image_size=64, plan=exported[0] / PLAN)
    assert not contents(tmp_path)


def test_bytes_in(tmp_path: Path) -> None:
    result = atto(tmp_path, input_kind="uint8", calib_samples=8)
    assert tuple(a.target for a in result.artifacts) == TARGETS
    for artifact in result.artifacts:
        assert artifact.manifest.input.dtype == "uint8", artifact.target
        quantized = artifact.manifest.quantized
        assert quantized is not None and quantized.cosine is not None and quantized.cosine > 0.99, artifact.target


@pytest.mark.parametrize("task", ["features", "embed"])
def test_the_other_tasks(task: str, tmp_path: Path) -> None:
    for artifact in atto(tmp_path, task=task, calib_samples=8).artifacts:
        quantized = artifact.manifest.quantized
        assert quantized is not None and quantized.cosine is not None and quantized.cosine > 0.98, artifact.target


def test_scales_at_run_time_need_no_calibration(tmp_path: Path) -> None:
    (artifact,) = atto(tmp_path, target="tflite", precision="int8-dynamic").artifacts
    quantized = artifact.manifest.quantized
    assert quantized is not None and quantized.engine == "the runtime" and quantized.calibration is None
    assert artifact.manifest.self_check.against == "fp32"
    assert not list(tmp_path.glob("*.plan.json"))


def test_another_engine_fills_the_same_plan(exported: tuple[Path, ExportResult], tmp_path: Path) -> None:
    pytest.importorskip("nncf")
    result = atto(tmp_path, target=("onnx", "openvino"), quantizer="nncf")
    plan, ours = read_plan(tmp_path / PLAN), read_plan(exported[0] / PLAN)
    assert plan.engine == "nncf" and plan.layers.keys() == ours.layers.keys()
    assert plan.calibration == ours.calibration
    for artifact in result.artifacts:
        quantized = artifact.manifest.quantized
        assert quantized is not None and quantized.engine == "nncf"
        assert quantized.cosine is not None and quantized.cosine > 0.98, artifact.target


def test_a_missing_engine_is_told_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "nncf" else name)
    seen: list[Step] = []
    with pytest.raises(EdgecvxError, match="NNCF is not installed"):
        atto(tmp_path, target="onnx", quantizer="nncf", on_step=seen.append)
    assert not seen


@pytest.mark.parametrize(
    "options", [{"calib_samples": 8}, {"estimator": "mse"}, {"plan": "x.json"}, {"refinements": ()}, {"calib": "here"}]
)
def test_choices_nobody_would_hear_are_refused(options: dict[str, object], tmp_path: Path) -> None:
    for precision in ("fp32", "fp16", "int8-dynamic"):
        with pytest.raises(UsageError, match="go with --precision int8"):
            export("atto", target="tflite", weights="demo", precision=precision, out=tmp_path, **options)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="--plan brings its scales along"):
        export("atto", target="tflite", precision="int8", **{"calib_samples": 8, **options, "plan": "x.json"})  # type: ignore[arg-type]


def test_validate_leaves_the_calibration_pictures_out(pictures: Path, tmp_path: Path) -> None:
    result = atto(tmp_path, target="onnx", calib=pictures, calib_samples=12)
    found = validate(result.artifacts[0].path, data=pictures, truth="none", threads=1, cache_dir=tmp_path / "cache")
    assert found.data.excluded_calibration == 12
    assert found.artifacts[0].pictures == 8


# What is wrong with a calibration is told, never silent.


def test_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(EdgecvxError, match="there is no picture to calibrate on"):
        atto(tmp_path / "out", target="onnx", calib=tmp_path / "empty")
    with pytest.raises(EdgecvxError, match="cannot be listed"):
        atto(tmp_path / "out", target="onnx", calib=tmp_path / "nowhere")
    assert not (tmp_path / "out").exists()


def test_an_empty_path_is_not_this_folder(tmp_path: Path) -> None:
    """An empty variable in a shell script: ``--calib "$PHOTOS"`` must not calibrate on whatever lies here."""
    with pytest.raises(EdgecvxError, match="an empty path names no folder of pictures"):
        atto(tmp_path / "out", target="onnx", calib="")


def test_one_picture(tmp_path: Path) -> None:
    result = atto(tmp_path, target="onnx", calib_samples=1)
    assert "one single picture" in " ".join(result.warnings)
    assert result.artifacts[0].manifest.quantized.agreement is None  # type: ignore[union-attr]


def save(folder: Path, make: Callable[[int], np.ndarray], count: int = 12) -> Path:
    folder.mkdir()
    for index in range(count):
        Image.fromarray(make(index)).save(folder / f"{index}.png")
    return folder


def test_pictures_of_one_colour(tmp_path: Path) -> None:
    plain = save(tmp_path / "plain", lambda i: np.full((80, 80, 3), 20 * i, np.uint8))
    told = " ".join(atto(tmp_path, target="onnx", calib=plain).warnings)
    assert "one single colour" in told


def test_pictures_of_another_domain(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    noise = save(tmp_path / "noise", lambda i: draw.integers(0, 256, (80, 80, 3), np.uint8))
    told = " ".join(atto(tmp_path, target="onnx", calib=noise).warnings)
    assert "look unlike what convnextv2_atto.demo was trained on" in told


def test_drawn_pictures_for_somebody_elses_network(tmp_path: Path) -> None:
    path = tmp_path / "birds.safetensors"
    save_file(support.network(num_classes=5).state_dict(), str(path))
    result = export(path, target="onnx", precision="int8", image_size=64, calib_samples=4, out=tmp_path)
    assert "calibrated on drawn pictures, which convnextv2_custom.birds was not trained on" in " ".join(result.warnings)


def test_weights_that_give_nan(tmp_path: Path) -> None:
    """Finite weights whose products are not: found in the sweep, with the layer's name."""
    state = support.network(num_classes=5).state_dict()
    for name in state:
        if name.endswith("conv_dw.weight"):
            state[name] = torch.full_like(state[name], 3e38)
    path = tmp_path / "huge.safetensors"
    save_file(state, str(path))
    with pytest.raises(EdgecvxError, match=r"(?i)nan|infinite"):
        export(path, target="onnx", precision="int8", image_size=64, calib_samples=4, out=tmp_path / "out")
    assert not contents(tmp_path / "out")


def test_the_command_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ["export", "atto", "--weights", "demo", "-t", "onnx", "--image-size", "64", "--out", str(tmp_path)]
    assert cli.run([*arguments, "--int8", "--calib-samples", "8", "--json"]) == 0
    printed = json.loads(capfd.readouterr().out)
    path = Path(printed["artifacts"][0]["path"])
    assert read_manifest(path).precision is Precision.INT8
    assert cli.run(["inspect", str(path)]) == 0
    shown = capfd.readouterr().out
    assert "of the multiply-accumulates" in shown and "8 drawn pictures" in shown
    assert cli.run([*arguments, "--int8", "--fp16"]) == 2
    assert "a file has one precision, not fp16 and int8" in capfd.readouterr().err


def test_a_file_with_a_pair_that_can_overflow_is_not_handed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would pass every run on a processor with VNNI, and compute other numbers on one without."""
    format = get_format("onnx")
    careless = dataclasses.replace(format.schemes[Precision.INT8], pairs=())
    changed = dataclasses.replace(format, schemes={Precision.INT8: careless})
    monkeypatch.setattr("edgecvx.export.onnx.format.FORMAT", changed)
    with pytest.raises(
        SelfCheckError, match=r"not handed over: of its pairs.* overflow .*in output channel \d+ the nei"
    ):
        atto(tmp_path, target="onnx", calib_samples=8)
    assert list(tmp_path.glob("*.onnx")) == []


def test_inspect_says_that_every_pair_fits(
    exported: tuple[Path, ExportResult], capfd: pytest.CaptureFixture[str]
) -> None:
    _, result = exported
    for artifact in result.artifacts:
        pairs = inspect(artifact.path).pairs
        if artifact.target in ("tflite", "coreml"):  # whose products are exact whatever the weights
            assert pairs is None
        else:
            assert pairs is not None and pairs.pairs > 1_500_000 and not pairs.overflowing
    path = next(a.path for a in result.artifacts if a.target == "openvino")
    assert cli.run(["inspect", str(path), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["pairs"]["overflowing"] == 0
