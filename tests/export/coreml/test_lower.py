"""Core ML packages: each computes what the network computes, as the reference executor reads it from the saved file."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lowerings import canonical
from mlpackages import lowered, save
from numpy.typing import NDArray
from support import PATHS, assert_close, network, probe, relative_error

if importlib.util.find_spec("coremltools") is None:  # importing it here would load what the product keeps away
    pytest.skip("coremltools is not installed", allow_module_level=True)

from edgecvx.data.preprocess import normalize
from edgecvx.errors import ExportError, UsageError
from edgecvx.export.base import Lowered
from edgecvx.export.coreml.importing import import_coremltools
from edgecvx.export.coreml.lower import lower
from edgecvx.export.coreml.options import CoreMLOptions
from edgecvx.graph.canonical import build_canonical
from edgecvx.graph.fold import fold_uint8_input
from edgecvx.graph.probabilities import ending_in_softmax
from edgecvx.models.convnext import Block, ConvNeXt, outputs_of
from edgecvx.runtimes.mil.executor import ReferenceSession, read_ops
from edgecvx.spec import InputKind, Precision, PreprocessSpec, Task, to_json

FP32, FP16 = Precision.FP32, Precision.FP16
WITHIN: dict[Precision, Any] = {
    FP32: {"rtol_of_range": 1e-5, "why": "the same products in FP32, summed in another order; 3e-7 seen"},
    FP16: {"rtol_of_range": 1e-2, "why": "the product's promise; every op rounds to 11 bits, 1e-3 seen"},
}


def reference(module: ConvNeXt, x: NDArray[Any], task: Task = Task.CLASSIFY) -> list[NDArray[Any]]:
    with torch.no_grad():
        return [y.numpy() for y in outputs_of(module, torch.from_numpy(x), task.value)]


def run(package: Lowered, x: NDArray[Any], folder: Path, *, fp16: bool = False) -> list[NDArray[Any]]:
    """The outputs of the saved package, in the order and under the names the lowering announced."""
    session = ReferenceSession(save(package, folder), fp16=fp16)
    assert session.inputs == package.inputs
    assert session.outputs == package.outputs
    return session.run(x)


CASES: dict[str, tuple[dict[str, Any], Sequence[str] | None, Task, int]] = {
    "v2": ({}, None, Task.CLASSIFY, 1),
    "v2 as trained": ({}, (), Task.CLASSIFY, 1),
    "v1": ({"grn": False}, None, Task.CLASSIFY, 1),
    "v1 as trained": ({"grn": False}, (), Task.CLASSIFY, 1),
    "padded stem": ({"grn": False, "stem": "overlap_tiered"}, None, Task.CLASSIFY, 1),
    "silu": ({"act": "silu"}, None, Task.CLASSIFY, 1),
    "tanh gelu, other epsilons": ({"act": "gelu_tanh", "head_norm_eps": 1e-12, "norm_eps": 1e-5}, None, Task.EMBED, 1),
    "other kernels": ({"kernel_sizes": (3, 5, 7, 9)}, None, Task.CLASSIFY, 1),
    "features": ({}, None, Task.FEATURES, 1),
    "embedding of two": ({}, None, Task.EMBED, 2),
    "logits of two": ({"act": "silu", "grn": False}, (), Task.CLASSIFY, 2),
}


@pytest.mark.parametrize("precision", [FP32, FP16])
@pytest.mark.parametrize("case", CASES)
def test_package_computes_what_the_network_computes(case: str, precision: Precision, tmp_path: Path) -> None:
    changes, folds, task, batch = CASES[case]
    module, x = network(seed=3, **changes), probe(batch)
    package = lowered(module, precision=precision, folds=folds, task=task, batch=batch)
    expected = reference(module, x, task)
    actual = run(package, x, tmp_path)
    assert len(actual) == len(expected)
    for a, e in zip(actual, expected, strict=True):
        assert_close(a, e, **WITHIN[precision])


def test_a_real_variant(tmp_path: Path) -> None:
    """Femto at 224: the sizes at which sums grow long."""
    module, x = network(1000, depths=(2, 2, 6, 2), dims=(48, 96, 192, 384)), probe(size=224)
    (expected,) = reference(module, x)
    for precision in (FP32, FP16):
        (actual,) = run(lowered(module, precision=precision, size=224), x, tmp_path / precision.value)
        assert_close(actual, expected, **WITHIN[precision])


def test_one_changed_weight_is_noticed(tmp_path: Path) -> None:
    """The comparison above can fail: one value of fc1 in the middle of the weight file, times sixteen."""
    module, x = network(), probe()
    path = save(lowered(module), tmp_path)
    file = path / "Data" / "com.apple.CoreML" / "weights" / "weight.bin"
    weight = module.get_parameter("stages.3.blocks.0.mlp.fc2.weight").detach().numpy()
    content = file.read_bytes()
    row = weight[0].tobytes()
    assert content.count(row) == 1
    broken = weight[0].copy()
    broken[0] *= 16
    file.write_bytes(content.replace(row, broken.tobytes()))
    (expected,) = reference(module, x)
    assert relative_error(ReferenceSession(path).features(x)["logits"], expected) > 1e-3


# GRN in FP16.


def blocks_of(module: ConvNeXt) -> list[Block]:
    return [block for block in module.modules() if isinstance(block, Block)]


def with_activations_scaled(scale: float) -> ConvNeXt:
    """A network whose GRN sees activations of another size: fc1 is multiplied by ``scale``, fc2 divided by it."""
    module = network()
    with torch.no_grad():
        for block in blocks_of(module):
            block.mlp.fc1.weight.mul_(scale)
            block.mlp.get_parameter("fc1.bias").mul_(scale)
            block.mlp.fc2.weight.div_(scale)
    return module


@pytest.mark.parametrize("scale", [1e-4, 1e-2, 100.0, 3000.0])
def test_grn_survives_fp16_at_any_size(scale: float, tmp_path: Path) -> None:
    """Activations from 1e-5 to 10000: squares from far below the smallest float16 to far above the largest."""
    module, x = with_activations_scaled(scale), probe()
    (expected,) = reference(module, x)
    (actual,) = run(lowered(module, precision=FP16), x, tmp_path)
    assert_close(actual, expected, **WITHIN[FP16])


def test_grn_as_trained_overflows_in_fp16(tmp_path: Path) -> None:
    """Sums of squares pass 65504, and infinity by infinity is NaN: what the fold and the lowering above are for."""
    module, x = with_activations_scaled(100.0), probe()
    (naive,) = run(lowered(module, precision=FP16, folds=()), x, tmp_path / "half")
    assert not np.isfinite(naive).all()
    (rounded,) = run(lowered(module, folds=()), x, tmp_path / "rounded", fp16=True)
    assert not np.isfinite(rounded).all()
    (exact,) = run(lowered(module, folds=()), x, tmp_path / "single")
    assert_close(exact, reference(module, x)[0], **WITHIN[FP32])


@pytest.mark.parametrize("precision", [FP32, FP16])
def test_silent_activations_give_no_nan(precision: Precision, tmp_path: Path) -> None:
    """All of GRN's input zero, or so small that epsilon rules: 0 / 0 in FP16, where epsilon underflows.

    In FP16 the smallest normal number stands in for it; weights that are much smaller still are refused there.
    """
    for scale in (0.0, 1e-7 if precision is FP32 else 2e-5):
        module = network()
        with torch.no_grad():
            for block in blocks_of(module):
                block.mlp.fc1.weight.mul_(scale)
                block.mlp.get_parameter("fc1.bias").mul_(scale)
        (actual,) = run(lowered(module, precision=precision), probe(), tmp_path / f"{scale}")
        assert_close(actual, reference(module, probe())[0], **WITHIN[FP16])


def test_fp16_package_is_fp16_throughout(tmp_path: Path) -> None:
    """Nothing makes the Neural Engine hand over in the middle: FP32 only at the file's own doors."""
    ops = read_ops(save(lowered(network(), precision=FP16), tmp_path))
    assert {op.dtype for op in ops[:-1]} == {"float16"}
    assert (ops[-1].op, ops[-1].name, ops[-1].dtype) == ("cast", "logits", "float32")


def test_weights_beyond_fp16_are_refused() -> None:
    module = network()
    with torch.no_grad():
        module.get_parameter("stages.1.blocks.0.mlp.fc2.weight")[0, 0] = 1e6
    with pytest.raises(ExportError, match=r"stages\.1\.blocks\.0\.mlp\.fc2\.weight.*1e\+06.*65504"):
        lowered(module, precision=FP16)


# Pictures.

PREPROCESS = PreprocessSpec(size=64)
DESCRIBED = {"edgecvx.preprocess": json.dumps(to_json(PREPROCESS))}


def picture(seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8)


@pytest.mark.parametrize("precision", [FP32, FP16])
def test_bytes_in_the_graph_are_a_picture_in_the_file(precision: Precision, tmp_path: Path) -> None:
    module = network()
    (expected,) = reference(module, normalize(picture(), PREPROCESS).transpose(2, 0, 1)[None])
    package = lowered(fold_uint8_input(module, PREPROCESS), precision=precision, input_kind=InputKind.UINT8)
    assert (package.inputs[0].dtype, package.inputs[0].layout) == ("uint8", "NHWC")
    assert package.inputs[0].shape == (1, 64, 64, 3)
    (actual,) = run(package, picture()[None], tmp_path)
    assert_close(actual, expected, **WITHIN[precision])


def test_flat_colours_survive_the_folded_stem_in_fp16(tmp_path: Path) -> None:
    """Pixels of one size and sign add up the rounding of the stem's weights; 128 is taken off them first."""
    module = network()
    package = lowered(
        fold_uint8_input(module, PREPROCESS), precision=FP16, input_kind=InputKind.UINT8, taps=("stem.1",)
    )
    assert "centre-bytes" in package.passes
    assert "image_float" not in {op.name for op in read_ops(save(package, tmp_path))}  # nothing says it is the bytes
    session = ReferenceSession(save(package, tmp_path))
    for colour in np.random.default_rng(0).integers(0, 256, (20, 3), dtype=np.uint8):
        flat = np.broadcast_to(colour, (1, 64, 64, 3)).copy()
        with torch.no_grad():
            expected = module.stem(torch.from_numpy(normalize(flat[0], PREPROCESS).transpose(2, 0, 1)[None].copy()))
        why = "8e-4 at worst among these; 3.4e-3 where the bytes are left as they are"
        assert_close(session.features(flat)["stem_1"], expected, 1.7e-3, why=why)


@pytest.mark.parametrize("precision", [FP32, FP16])
def test_picture_in_front_of_a_padded_stem(precision: Precision, tmp_path: Path) -> None:
    """Its bytes cannot be folded into the stem, so the preprocessing is written into the program."""
    module = network(grn=False, stem="overlap")
    (expected,) = reference(module, normalize(picture(), PREPROCESS).transpose(2, 0, 1)[None])
    package = lowered(module, precision=precision, image_input=True, metadata=DESCRIBED)
    assert_close(run(package, picture()[None], tmp_path)[0], expected, **WITHIN[precision])


def test_what_core_ml_cannot_take_is_refused() -> None:
    with pytest.raises(UsageError, match="one picture at a time"):
        lowered(network(), input_kind=InputKind.UINT8, batch=2)
    with pytest.raises(UsageError, match="no array of bytes"):
        lowered(network(), input_kind=InputKind.UINT8, image_input=False)
    with pytest.raises(ExportError, match="preprocessing"):
        lowered(network(), image_input=True)


# Labels.

LABELS = {"edgecvx.labels": json.dumps(["ash", "crane", "oak", "crane", "elm", "fir", "yew", "bay", "fig", "box"])}


@pytest.mark.parametrize("precision", [FP32, FP16])
def test_classifier_returns_label_probabilities_and_logits(precision: Precision, tmp_path: Path) -> None:
    package = lowered(network(), precision=precision, metadata=LABELS)
    assert [o.name for o in package.outputs] == ["logits"]
    features = ReferenceSession(save(package, tmp_path)).features(probe())
    logits = torch.from_numpy(features["logits"])
    probabilities = dict(zip(features["classLabel_probs"], torch.softmax(logits, 1)[0].tolist(), strict=True))
    assert features["classLabel_probs"] == pytest.approx(probabilities, rel=1e-5)
    assert features["classLabel"] == max(probabilities, key=probabilities.__getitem__)
    assert list(probabilities)[:5] == ["ash", "crane (1)", "oak", "crane (3)", "elm"]  # a dictionary needs each its own


@pytest.mark.parametrize("precision", [FP32, FP16])
def test_classifier_of_probabilities_keeps_the_array(precision: Precision, tmp_path: Path) -> None:
    graph = ending_in_softmax(canonical(network(), metadata=LABELS))
    package = lower(graph, CoreMLOptions(precision=precision))
    assert [o.name for o in package.outputs] == ["probabilities"]
    features = ReferenceSession(save(package, tmp_path), fp16=precision is FP16).features(probe())
    (logits,) = reference(network(), probe())
    assert_close(features["probabilities"], torch.softmax(torch.from_numpy(logits), 1), **WITHIN[precision])
    assert list(features["classLabel_probs"].values()) == pytest.approx(features["probabilities"][0].tolist())
    assert features["classLabel"] == max(features["classLabel_probs"], key=features["classLabel_probs"].get)


def test_classifier_only_where_it_can_be_one() -> None:
    assert "classifier" not in lowered(network(), batch=2, metadata=LABELS).passes
    assert "classifier" not in lowered(network(), classifier=False, metadata=LABELS).passes
    with pytest.raises(ExportError, match="classifier needs"):
        lowered(network(), classifier=True, batch=2, metadata=LABELS)
    with pytest.raises(ExportError, match="10 labels do not go with"):
        lowered(network(num_classes=7), metadata=LABELS)


# Names, taps, bytes.


@pytest.mark.parametrize("precision", [FP32, FP16])
def test_taps_return_values_inside_under_their_names(precision: Precision, tmp_path: Path) -> None:
    module, x = network(), probe()
    taps = ("stages.1.blocks.0.mlp.act", "stages.2.blocks.1", "logits")
    package = lowered(module, precision=precision, taps=taps)
    assert [o.name for o in package.outputs] == ["logits", "stages_1_blocks_0_mlp_act", "stages_2_blocks_1"]
    seen: dict[str, torch.Tensor] = {}
    module.get_submodule("stages.2.blocks.1").register_forward_hook(lambda m, i, y: seen.update(block=y))
    reference(module, x)
    tapped = run(package, x, tmp_path)[2]
    assert_close(tapped, seen["block"].numpy(), **WITHIN[FP16])
    names = json.loads(ReferenceSession(tmp_path / "model.mlpackage").package.metadata["edgecvx.names"])
    assert names["stages_2_blocks_1"] == "stages.2.blocks.1"


def test_unknown_tap_is_refused() -> None:
    with pytest.raises(ExportError, match=r"no value named stages\.9"):
        lowered(network(), taps=("stages.9",))


def test_op_outside_the_canonical_graph_is_refused() -> None:
    graph = build_canonical(network(), image_size=64)
    graph.graph[-1].op_type = "MatMul"
    with pytest.raises(ExportError, match=r"no lowering for ai\.onnx\.MatMul"):
        lower(graph, CoreMLOptions(precision=FP32))


def test_newer_systems_get_their_own_opset(tmp_path: Path) -> None:
    for ios, specification, opset in ((16, 7, "CoreML6"), (17, 8, "CoreML7")):
        package = lowered(network(), precision=FP16, ios=ios)
        (actual,) = run(package, probe(), tmp_path / str(ios))
        assert_close(actual, reference(network(), probe())[0], **WITHIN[FP16])
        saved = ReferenceSession(tmp_path / str(ios) / "model.mlpackage").package
        assert (saved.specification, saved.opset) == (specification, opset)


def digest(package: Lowered) -> str:
    return hashlib.sha256(b"".join(package.files[name] for name in sorted(package.files))).hexdigest()


FRESH = """
import sys
from mlpackages import lowered
from support import network
from test_lower import LABELS, FP16, digest
print(digest(lowered(network(), precision=FP16, metadata=LABELS)))
assert not {"tensorflow", "sklearn", "transformers"} & set(sys.modules)
"""


def test_same_network_same_bytes_and_quietly() -> None:
    """In this process twice, and in a fresh one with another hash seed, which prints nothing else."""
    expected = digest(lowered(network(), precision=FP16, metadata=LABELS))
    assert digest(lowered(network(), precision=FP16, metadata=LABELS)) == expected
    paths = [PATHS, str(Path(__file__).parent)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONHASHSEED": "7"}
    done = subprocess.run([sys.executable, "-c", FRESH], env=env, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == (expected, "")


def test_core_ml_tools_read_the_package_too(tmp_path: Path) -> None:
    """A second opinion on the file's form: Apple's own reader finds the same operations and constants."""
    coremltools = import_coremltools()
    load = importlib.import_module("coremltools.converters.mil.frontend.milproto.load")
    path = save(lowered(network(), precision=FP16, metadata=LABELS | {"edgecvx.license": "apache-2.0"}), tmp_path)
    model = coremltools.models.MLModel(str(path), skip_model_load=True)
    assert model.license == "apache-2.0"
    assert not any("date" in key for key in model.user_defined_metadata)
    program = load.load(model.get_spec(), specification_version=7, file_weights_dir=model.weights_dir)
    theirs = [op for op in program.functions["main"].operations if op.op_type != "const"]
    assert [op.op_type for op in theirs] == [op.op for op in read_ops(path)]
