"""Where an artifact's error is born: a constant is corrupted in the written file itself, and must be found."""

from __future__ import annotations

import dataclasses
import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import support
import validation_sample as sample
from native_artifacts import copied
from PIL import Image

from edgecvx.accuracy.layers import compare as perlayer
from edgecvx.accuracy.layers.compare import PerLayer, as_canonical, per_layer
from edgecvx.errors import ArtifactError, CheckpointError
from edgecvx.manifest import manifest_path, read_manifest
from edgecvx.results.accuracy import LayerError
from edgecvx.results.layers import ranked, suspects
from edgecvx.spec import from_json, to_json

if TYPE_CHECKING:
    from small_classifier import Exported

torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

NEEDS = {"onnx": "onnx_ir", "openvino": "openvino", "tflite": "ai_edge_litert", "coreml": "coremltools"}
TARGETS = tuple(NEEDS)
SIZE = 64

Exporter = Callable[..., Path]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("artifacts")


@pytest.fixture(scope="module")
def checkpoint(folder: Path) -> Path:
    safetensors = pytest.importorskip("safetensors.torch")
    path = folder / "small.safetensors"
    safetensors.save_file(support.network(seed=3).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def exported(folder: Path, checkpoint: Path) -> Exporter:
    """Exports the small network once per (target, options)."""
    from edgecvx.pipeline import export

    made: dict[str, Path] = {}

    def run(target: str, **options: object) -> Path:
        pytest.importorskip(NEEDS[target])
        key = f"{target}-{sorted(options.items())}"
        if key not in made:
            out = folder / str(len(made))
            result = export(checkpoint, target=target, image_size=SIZE, out=out, **options)  # type: ignore[arg-type]
            made[key] = result.artifacts[0].path
        return made[key]

    return run


def corrupt(artifact: Path, to: Path, value: float) -> Path:
    """A copy of an artifact in which one stored float32 is another number; nothing else is touched."""
    shutil.copytree(artifact.parent, to)
    stored, wrong = struct.pack("<f", value), struct.pack("<f", 40 * value + 2)
    changed = 0
    for path in to.rglob("*"):
        if path.is_file() and not path.name.endswith(".json"):
            content = path.read_bytes()
            changed += content.count(stored)
            path.write_bytes(content.replace(stored, wrong))
    assert changed == 1, f"the weight was found {changed} times: the test needs another one"
    return to / artifact.name


def folded_weight(checkpoint: Path, parameter: str) -> float:
    """The middle of a parameter as it lies in a file: after the folds."""
    from edgecvx.graph.fold import fold
    from edgecvx.models.load import load_model

    array = fold(load_model(checkpoint).module).module.state_dict()[parameter].numpy()
    return float(array.reshape(-1)[array.size // 2])


@pytest.mark.parametrize("target", TARGETS)
def test_a_sound_file_is_only_rounded(exported: Exporter, checkpoint: Path, target: str) -> None:
    found = per_layer(exported(target), checkpoint=checkpoint, pictures=2)
    assert len(found.layers) >= 40, "nearly every canonical tensor can be looked at"
    assert found.notes == ()
    assert suspects(found.layers) == ()
    # Float32 carries 24 bits, 144 dB; sums of a few hundred terms in another order cost up to 30 of them.
    assert min(layer.sqnr_db or 999 for layer in found.layers) > 110
    worst = ranked(found.layers)[0]
    assert worst.local_sqnr_db is None or worst.local_sqnr_db > 115


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("planted", ["stages.2.blocks.1.mlp.fc1", "stages.1.blocks.0.conv_dw"])
def test_a_corrupted_weight_is_named(
    exported: Exporter, checkpoint: Path, tmp_path: Path, target: str, planted: str
) -> None:
    artifact = exported(target)
    broken = corrupt(artifact, tmp_path / "broken", folded_weight(checkpoint, f"{planted}.weight"))
    found = per_layer(broken, checkpoint=checkpoint, pictures=2)
    birthplace = ranked(found.layers)[0]
    assert birthplace.name == planted
    assert [layer.name for layer in suspects(found.layers)] == [planted]
    assert birthplace.channel_share > 0.99, "one weight spoils one channel"
    assert "SHA-256" in found.notes[0], "and the file is not the one that was proved"
    behind = [layer for layer in found.layers if layer.depth > birthplace.depth]
    assert max(layer.sqnr_db or 999 for layer in behind) < 60, "the accumulated figure cannot tell: all behind is bad"
    before = [layer for layer in found.layers if layer.depth < birthplace.depth]
    assert min(layer.sqnr_db or 999 for layer in before) > 110


@pytest.mark.parametrize("target", TARGETS)
def test_fp16_is_spread_over_all_layers(exported: Exporter, checkpoint: Path, target: str) -> None:
    found = per_layer(exported(target, precision="fp16"), checkpoint=checkpoint, pictures=2)
    assert suspects(found.layers) == (), "rounding is not damage"
    # 11 bits of mantissa are 66 dB for one rounding; the network has some thirty in a row.
    assert 40 < (found.layers[-1].sqnr_db or 999) < 90


def test_a_file_of_the_native_engine_is_looked_into(native_classifier: Exported) -> None:
    """What it cannot show lies in the step to what it can: int8 is in most of them, and none of these is damaged."""
    found = per_layer(native_classifier.path, checkpoint=native_classifier.checkpoint, pictures=3)
    kinds = {layer.name: layer.kind for layer in found.layers}
    assert kinds["stem.1"].endswith(", int8"), "the stem's convolution is in its step"
    assert kinds["stages.0.blocks.0.conv_dw"] == "depthwise 7x7"
    assert kinds["logits"] == "Gemm, int8"
    assert suspects(found.layers) == ()
    assert min(layer.local_sqnr_db or 999 for layer in found.layers) > 15


def test_a_damaged_layer_of_the_native_engine_is_named(native_classifier: Exported, tmp_path: Path) -> None:
    from edgecvx.export.native.description import Description
    from edgecvx.export.native.parser import read
    from edgecvx.export.native.writer import write

    def damaged(described: Description) -> Description:
        stage = described.stages[2]
        block = dataclasses.replace(stage.blocks[1], bias=stage.blocks[1].bias + np.float32(4))
        stage = dataclasses.replace(stage, blocks=(stage.blocks[0], block))
        return dataclasses.replace(described, stages=(*described.stages[:2], stage, described.stages[3]))

    artifact = copied(native_classifier.path, tmp_path / "broken")
    artifact.write_bytes(write(damaged(read(artifact))))
    found = per_layer(artifact, checkpoint=native_classifier.checkpoint, pictures=2)
    assert [layer.name for layer in suspects(found.layers)] == ["stages.2.blocks.1.conv_dw"]
    assert "SHA-256" in found.notes[0]


def test_a_corrupted_bias_of_the_classifier_is_named(exported: Exporter, checkpoint: Path, tmp_path: Path) -> None:
    broken = corrupt(exported("onnx"), tmp_path / "broken", folded_weight(checkpoint, "head.fc.bias"))
    found = per_layer(broken, checkpoint=checkpoint, pictures=2)
    assert ranked(found.layers)[0].name == "logits"


def test_groups_change_nothing(exported: Exporter, checkpoint: Path) -> None:
    """Tensors are looked at in groups to bound the memory; each group brings its own inputs along."""
    whole = per_layer(exported("onnx"), checkpoint=checkpoint, pictures=1)
    steps: list[tuple[int, int]] = []
    parts = per_layer(
        exported("onnx"),
        checkpoint=checkpoint,
        pictures=1,
        group_bytes=60_000,
        on_group=lambda done, total: steps.append((done, total)),
    )
    assert len(steps) > 4
    assert [layer.name for layer in parts.layers] == [layer.name for layer in whole.layers]
    for a, b in zip(parts.layers, whole.layers, strict=True):
        # A runtime fuses differently in each debug build: the last bit of float32 moves, 120 dB down.
        assert min(a.sqnr_db or 200, 115) == pytest.approx(min(b.sqnr_db or 200, 115), abs=0.1)


def test_bytes_batches_and_features_too(exported: Exporter, checkpoint: Path) -> None:
    """Three pictures through a batch of two: the picture that fills up the last batch does not count."""
    sources = [
        Image.fromarray(support.probe(1, SIZE, seed)[0].transpose(1, 2, 0).astype(np.uint8)) for seed in range(3)
    ]
    artifact = exported("onnx", batch=2, task="features", input_kind="uint8")
    found = per_layer(artifact, checkpoint=checkpoint, sources=sources)
    assert found.pictures == 3
    assert found.layers[-1].name == "feature3"
    assert suspects(found.layers) == ()


def test_bytes_that_are_shifted_at_the_door_are_no_damage(exported: Exporter, checkpoint: Path) -> None:
    """Core ML in FP16 takes 128 off every byte and gives it back in the stem's bias."""
    found = per_layer(exported("coreml", precision="fp16", input_kind="uint8"), checkpoint=checkpoint, pictures=2)
    assert suspects(found.layers) == ()
    assert found.layers[0].name == "stem.0" and (found.layers[0].local_sqnr_db or 999) > 55


def test_an_unfolded_file_is_compared_with_the_unfolded_network(exported: Exporter, checkpoint: Path) -> None:
    found = per_layer(exported("coreml", folds=()), checkpoint=checkpoint, pictures=1)
    assert {"scale", "shift"} <= {layer.kind for layer in found.layers}
    assert suspects(found.layers) == ()


def test_the_reference_needs_the_right_weights(exported: Exporter, folder: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    other = folder / "other.safetensors"
    safetensors.save_file(support.network(seed=4).state_dict(), other)
    with pytest.raises(CheckpointError, match="SHA-256"):
        per_layer(exported("onnx"), checkpoint=other)
    with pytest.raises(CheckpointError, match="checkpoint"):
        per_layer(exported("onnx"))


def test_a_file_without_canonical_names_is_refused(exported: Exporter, checkpoint: Path, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    artifact = exported("onnx")
    shutil.copytree(artifact.parent, tmp_path / "renamed")
    path = tmp_path / "renamed" / artifact.name
    model = onnx.load(path)
    for node in model.graph.node:
        node.output[:] = [f"t_{name}" if name != "logits" else "out" for name in node.output]
        node.input[:] = [
            name if name in {i.name for i in model.graph.initializer} | {"image"} else f"t_{name}"
            for name in node.input
        ]
    onnx.save(model, path)
    with pytest.raises(ArtifactError, match="canonical name"):
        per_layer(path, checkpoint=checkpoint)


@pytest.mark.parametrize("target", TARGETS)
def test_a_file_that_is_garbage_is_one_sentence(
    exported: Exporter, checkpoint: Path, tmp_path: Path, target: str
) -> None:
    artifact = exported(target)
    shutil.copytree(artifact.parent, tmp_path / "garbage")
    path = tmp_path / "garbage" / artifact.name
    opened = next(path.rglob("*.mlmodel")) if path.is_dir() else path
    opened.write_bytes(b"\x1c\x00\x00\x00TFL3" + bytes(range(256)))
    with pytest.raises(ArtifactError, match=path.name.partition(".")[0]):
        per_layer(path, checkpoint=checkpoint)


def test_layouts_are_brought_back() -> None:
    canonical = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)
    rows = canonical.transpose(0, 2, 3, 1).reshape(8, 3)
    assert np.array_equal(as_canonical(rows, "NC", canonical.shape), canonical)
    assert np.array_equal(as_canonical(canonical.transpose(0, 2, 3, 1), "NHWC", canonical.shape), canonical)
    with pytest.raises(ArtifactError, match="any layout"):
        as_canonical(rows.T, "NC", canonical.shape)


def layer(name: str, kind: str, local: float | None, depth: int = 0) -> LayerError:
    return LayerError(
        name=name,
        kind=kind,
        depth=depth,
        sqnr_db=local,
        local_sqnr_db=local,
        cosine=1.0,
        max_error_of_range=0.0,
        not_finite=0,
        channel=0,
        channel_share=0.0,
    )


def test_a_layer_is_suspect_by_its_own_kind() -> None:
    """In an INT8 file convolutions are 100 dB below LayerNorms, and none of them is damaged for it."""
    sound = [layer(f"conv{i}", "conv 1x1", 33.0 + i, i) for i in range(5)]
    sound += [layer(f"norm{i}", "LayerNorm2d", 134.0 - i, 9 + i) for i in range(5)]
    assert suspects(sound) == ()
    worse = dataclasses.replace(sound[2], local_sqnr_db=12.0)
    assert suspects([*sound[:2], worse, *sound[3:]]) == (worse,)
    norm = dataclasses.replace(sound[7], local_sqnr_db=60.0)
    assert suspects([*sound[:7], norm, *sound[8:]]) == (norm,), "far better than any convolution, and still damaged"
    assert ranked([norm, worse])[0] is worse


def test_rounding_is_never_suspect() -> None:
    """A kind that comes out the same to the bit everywhere does not make 134 dB, float32's last digit, damage."""
    assert (
        suspects(
            [layer("a", "Gelu", None), layer("b", "Gelu", None), layer("c", "Gelu", None), layer("d", "Gelu", 134.0)]
        )
        == ()
    )


def test_an_artifact_that_cannot_be_looked_into_is_a_warning(
    exported: Exporter, checkpoint: Path, tmp_path: Path
) -> None:
    """The others are still looked into, and what was measured before stays."""
    made = sample.validation()
    outcome = dataclasses.replace(made.artifacts[0], layers=())
    made = dataclasses.replace(made, artifacts=(outcome, outcome), warnings=("as before",))
    given = [tmp_path / "gone.onnx", exported("onnx"), manifest_path(exported("onnx"))]  # as a shell's * names them
    found = perlayer.with_layers(made, given, checkpoint=checkpoint, pictures=1)
    assert found.artifacts[0] == outcome
    assert len(found.artifacts[1].layers) >= 40
    assert found.warnings[0] == "as before" and "gone.onnx" in found.warnings[1]


def test_it_turns_into_json_and_back(exported: Exporter, checkpoint: Path) -> None:
    found = per_layer(exported("onnx"), checkpoint=checkpoint, pictures=1)
    assert from_json(PerLayer, json.loads(json.dumps(to_json(found), allow_nan=False))) == found
    manifest = read_manifest(manifest_path(exported("onnx")))
    assert found.runtime == manifest.runtime
