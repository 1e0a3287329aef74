"""The reference executor: each operation against torch, FP16 as it says it is, and damaged packages refused."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mlpackages import lowered, save
from support import ROOT, assert_close, network, probe, relative_error
from torch.nn import functional as F

if find_spec("coremltools") is None:
    pytest.skip("coremltools is not installed", allow_module_level=True)

from opening import open_coreml

from edgecvx.errors import ArtifactError, EdgecvxError, RuntimeFailedError, RuntimeUnavailableError, UsageError
from edgecvx.export.coreml.importing import import_coremltools
from edgecvx.export.coreml.program import load_protos
from edgecvx.runtimes.mil import KIND
from edgecvx.runtimes.mil.executor import ReferenceSession, read_ops
from edgecvx.runtimes.mil.ops import OPS, erf
from edgecvx.spec import Precision

WHY = "FP32 in another order of summation"


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def computed(kind: str, **arguments: Any) -> Any:
    plain = {k: v.numpy() if isinstance(v, torch.Tensor) else v for k, v in arguments.items()}
    return OPS[kind](plain)


# Operations.

X, W = drawn(2, 6, 11, 9), drawn(8, 6, 3, 3, seed=1)
W12 = drawn(12, 1, 3, 3, seed=2)
CUSTOM = {"pad_type": "custom"}
CONVS: dict[str, tuple[dict[str, Any], Callable[[], torch.Tensor]]] = {
    "plain": ({"weight": W}, lambda: F.conv2d(X, W)),
    "bias": ({"weight": W, "bias": W[:, 0, 0, 0]}, lambda: F.conv2d(X, W, W[:, 0, 0, 0])),
    "padded": ({"weight": W, **CUSTOM, "pad": [1, 1, 2, 2]}, lambda: F.conv2d(X, W, padding=(1, 2))),
    "one-sided": ({"weight": W, **CUSTOM, "pad": [0, 1, 2, 0]}, lambda: F.conv2d(F.pad(X, (2, 0, 0, 1)), W)),
    "strided": ({"weight": W, "strides": [2, 3]}, lambda: F.conv2d(X, W, stride=(2, 3))),
    "dilated": ({"weight": W, "dilations": [3, 2]}, lambda: F.conv2d(X, W, dilation=(3, 2))),
    "same": ({"weight": W, "pad_type": "same"}, lambda: F.conv2d(X, W, padding="same")),
    "grouped": ({"weight": W[:6, :2], "groups": 3}, lambda: F.conv2d(X, W[:6, :2], groups=3)),
    "depthwise": ({"weight": W[:6, :1], "groups": 6}, lambda: F.conv2d(X, W[:6, :1], groups=6)),
    "two per channel": ({"weight": W12, "groups": 6}, lambda: F.conv2d(X, W12, groups=6)),
}


@pytest.mark.parametrize("case", CONVS)
def test_convolution(case: str) -> None:
    arguments, expected = CONVS[case]
    assert_close(computed("conv", x=X, **arguments), expected(), 1e-6, why=WHY)


OTHERS: dict[str, tuple[Callable[[], Any], torch.Tensor]] = {
    "linear": (lambda: computed("linear", x=X[:, :, 0, 0], weight=W[..., 0, 0]), X[:, :, 0, 0] @ W[..., 0, 0].T),
    "layer_norm over channels": (
        lambda: computed("layer_norm", x=X, axes=[1], epsilon=1e-6),
        F.layer_norm(X.permute(0, 2, 3, 1), (6,), eps=1e-6).permute(0, 3, 1, 2),
    ),
    "layer_norm with scale and shift": (
        lambda: computed("layer_norm", x=X, axes=[-1], gamma=X[0, 0, 0], beta=X[0, 0, 1], epsilon=1e-3),
        F.layer_norm(X, (9,), X[0, 0, 0], X[0, 0, 1], 1e-3),
    ),
    "gelu": (lambda: computed("gelu", x=X, mode="EXACT"), F.gelu(X)),
    "gelu tanh": (lambda: computed("gelu", x=X, mode="TANH_APPROXIMATION"), F.gelu(X, approximate="tanh")),
    "silu": (lambda: computed("silu", x=100 * X), F.silu(100 * X)),
    "sigmoid": (lambda: computed("sigmoid", x=100 * X), torch.sigmoid(100 * X)),
    "softmax": (lambda: computed("softmax", x=100 * X, axis=-1), torch.softmax(100 * X, -1)),
    "reduce_mean": (lambda: computed("reduce_mean", x=X, axes=[2, 3], keep_dims=True), X.mean((2, 3), keepdim=True)),
    "reduce_sum": (lambda: computed("reduce_sum", x=X, axes=[-1]), X.sum(-1)),
    "reduce_max": (lambda: computed("reduce_max", x=X, axes=[2, 3], keep_dims=True), X.amax((2, 3), keepdim=True)),
    "reduce_min": (lambda: computed("reduce_min", x=X, axes=[1]), X.amin(1)),
    "reduce_l2_norm": (lambda: computed("reduce_l2_norm", x=X, axes=[2, 3]), X.norm(dim=(2, 3))),
    "real_div": (lambda: computed("real_div", x=X, y=X[:, :1] + 9), X / (X[:, :1] + 9)),
    "transpose": (lambda: computed("transpose", x=X, perm=[0, 2, 3, 1]), X.permute(0, 2, 3, 1)),
}


@pytest.mark.parametrize("case", OTHERS)
def test_operation(case: str) -> None:
    actual, expected = OTHERS[case]
    assert_close(actual(), expected, 2e-6, why=WHY)


def test_error_function_to_eleven_digits() -> None:
    x = np.concatenate([np.linspace(-7, 7, 9973), [np.inf, -np.inf, 0.0]])
    assert np.abs(erf(x) - np.array([math.erf(v) for v in x])).max() < 1e-11
    assert np.isnan(erf(np.array([np.nan], np.float32))).all()  # an overflow before it must stay visible


def test_operations_refuse_what_does_not_fit() -> None:
    with pytest.raises(RuntimeFailedError, match="6 channels in 1 groups"):
        computed("conv", x=X, weight=W[:, :4])
    with pytest.raises(RuntimeFailedError, match="pad_type 'reflect'"):
        computed("conv", x=X, weight=W, pad_type="reflect")
    with pytest.raises(RuntimeFailedError, match="mode 'ERF'"):
        computed("gelu", x=X, mode="ERF")


# FP16.


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One network in both precisions."""
    folder = tmp_path_factory.mktemp("packages")
    return {p.value: save(lowered(network(), precision=p), folder / p.value) for p in (Precision.FP32, Precision.FP16)}


def test_fp16_rounds_what_the_file_declares_fp32(packages: dict[str, Path]) -> None:
    """The FP32 file under ``fp16`` is off by FP16's share, and every number it returns is a float16."""
    exact = ReferenceSession(packages["fp32"]).features(probe())["logits"]
    rounded = ReferenceSession(packages["fp32"], fp16=True).features(probe())["logits"]
    assert 1e-5 < relative_error(rounded, exact) < 1e-2
    assert (rounded.astype(np.float16) == rounded).all()
    assert not (exact.astype(np.float16) == exact).all()


def test_fp16_program_rounds_by_its_own_types(packages: dict[str, Path]) -> None:
    """Rounding everything changes nothing then: input and output are all that is FP32, and both are cast at once."""
    session, rounded = ReferenceSession(packages["fp16"]), ReferenceSession(packages["fp16"], fp16=True)
    assert (session.features(probe())["logits"] == rounded.features(probe())["logits"]).all()


# The session.


def test_session_says_what_it_is(packages: dict[str, Path]) -> None:
    session = open_coreml(packages["fp32"], options={"executor": "reference", "fp16": "1"})
    assert session.backend == KIND
    assert "not of Apple's hardware" in KIND
    session.close()


def test_session_refuses_another_batch(packages: dict[str, Path]) -> None:
    with pytest.raises(
        RuntimeFailedError, match=r"takes float32 \[1, 3, 64, 64\] in NCHW, got float32 \[2, 3, 64, 64\]"
    ):
        open_coreml(packages["fp32"], options={"executor": "reference"}).run(probe(batch=2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "1"}, "unknown option of coreml 'precision'"),
        ({"executor": "ane"}, "unknown executor 'ane'"),
        ({"executor": "reference", "fp16": "yes"}, "unknown fp16 'yes': known: 0, 1"),
        ({"executor": "reference", "compute_units": "cpu"}, "compute_units only goes with"),
        pytest.param(
            {"executor": "native"},
            "on a Mac only",
            marks=pytest.mark.skipif(sys.platform == "darwin", reason="here is a Mac"),
        ),
    ],
)
def test_options_that_make_no_sense(packages: dict[str, Path], options: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_coreml(packages["fp32"], options=options)


def test_opening_imports_no_framework(packages: dict[str, Path]) -> None:
    """A prediction off a Mac takes numpy and the generated protobuf classes; not coremltools, not torch."""
    code = (
        "import sys; from pathlib import Path; from edgecvx.runtimes import open_session\n"
        f"path, options = Path({str(packages['fp32'])!r}), {{'executor': 'reference'}}\n"
        "open_session('coreml', path, options=options, isolated=False)\n"
        "print(*(m for m in ('coremltools', 'torch', 'onnx_ir', 'tensorflow') if m in sys.modules))"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("", "")


def test_without_coremltools_it_says_how_to_get_it(packages: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "coremltools", None)
    monkeypatch.delitem(sys.modules, "edgecvx.export.coreml._proto", raising=False)
    with pytest.raises(RuntimeUnavailableError, match=r"pip install 'edgecvx\[coreml\]'"):
        ReferenceSession(packages["fp32"])
    with pytest.raises(RuntimeUnavailableError, match=r"pip install 'edgecvx\[coreml\]'"):
        import_coremltools()


def test_operations_are_listed_with_their_cost(packages: dict[str, Path]) -> None:
    ops = {op.name: op for op in read_ops(packages["fp32"])}
    stem = ops["stem_0"]
    assert (stem.op, stem.dtype, stem.shape) == ("conv", "float32", (1, 8, 16, 16))
    assert stem.macs == 8 * 16 * 16 * 3 * 4 * 4
    assert stem.const_bytes >= 4 * (8 * 3 * 4 * 4 + 8)
    parameters = sum(p.numel() for p in network().parameters())
    assert sum(op.const_bytes for op in ops.values()) == pytest.approx(4 * parameters, rel=0.1)


# Damage.

MODEL = Path("Data/com.apple.CoreML/model.mlmodel")
WEIGHTS = Path("Data/com.apple.CoreML/weights/weight.bin")


def rewritten(path: Path, change: Callable[[Any], None]) -> None:
    spec = load_protos().Model()
    spec.ParseFromString((path / MODEL).read_bytes())
    change(spec)
    (path / MODEL).write_bytes(spec.SerializeToString())


def operations(spec: Any) -> Any:
    function = spec.mlProgram.functions["main"]
    return function.block_specializations[function.opset].operations


def first(spec: Any, kind: str) -> Any:
    return next(op for op in operations(spec) if op.type == kind)


def blob(spec: Any) -> Any:
    values = (op.attributes["val"] for op in operations(spec) if op.type == "const")
    return next(v for v in values if v.WhichOneof("value") == "blobFileValue").blobFileValue


def manifest_path(path: Path, to: str) -> None:
    manifest = json.loads((path / "Manifest.json").read_text())
    manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]["path"] = to
    (path / "Manifest.json").write_text(json.dumps(manifest))


def linked_outside(path: Path) -> None:
    shutil.move(path / WEIGHTS, path.parent / "elsewhere.bin")
    (path / WEIGHTS).symlink_to(path.parent / "elsewhere.bin")


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no manifest": (lambda p: (p / "Manifest.json").unlink(), "Manifest.json cannot be read"),
    "manifest of something else": (lambda p: (p / "Manifest.json").write_text("[]"), "does not name a model"),
    "manifest is not text": (lambda p: (p / "Manifest.json").write_bytes(b"\xff\xfe"), "does not name a model"),
    "manifest nested without end": (lambda p: (p / "Manifest.json").write_text("[" * 99999), "does not name a model"),
    "path upwards": (lambda p: manifest_path(p, "../../secret"), "not inside the package"),
    "absolute path": (lambda p: manifest_path(p, "/etc/hostname"), "not inside the package"),
    "weights linked outside": (linked_outside, "not inside the package"),
    "no model": (lambda p: (p / MODEL).unlink(), "model.mlmodel cannot be read"),
    "model is not protobuf": (lambda p: (p / MODEL).write_bytes(b"\xff" * 99), "model.mlmodel is damaged"),
    "model of another kind": (lambda p: (p / MODEL).write_bytes(b""), "not an ML program"),
    "no weights": (lambda p: (p / WEIGHTS).unlink(), "weight.bin cannot be read"),
    "weights cut": (lambda p: os.truncate(p / WEIGHTS, 4000), "starts behind the end|the program wants"),
    "weights are something else": (lambda p: (p / WEIGHTS).write_bytes(b"\7" * 9999), "no weight file of version 2"),
    "blob offset": (lambda p: rewritten(p, lambda s: setattr(blob(s), "offset", 65)), "no blob header"),
    "blob far away": (lambda p: rewritten(p, lambda s: setattr(blob(s), "offset", 2**62)), "starts behind the end"),
    "blob file": (lambda p: rewritten(p, lambda s: setattr(blob(s), "fileName", "../x")), "not inside the package"),
    "unknown operation": (lambda p: rewritten(p, lambda s: setattr(first(s, "gelu"), "type", "lstm")), "'lstm'"),
    "missing value": (lambda p: rewritten(p, lambda s: first(s, "gelu").inputs["x"].Clear()), "cannot be computed"),
    "other shape": (
        lambda p: rewritten(
            p, lambda s: setattr(first(s, "gelu").outputs[0].type.tensorType.dimensions[1].constant, "size", 5)
        ),
        "the program declares",
    ),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_package_is_refused_in_one_line(case: str, packages: dict[str, Path], tmp_path: Path) -> None:
    damage, message = DAMAGE[case]
    path = tmp_path / "model.mlpackage"
    shutil.copytree(packages["fp32"], path)
    damage(path)
    with pytest.raises(RuntimeFailedError, match=message) as caught:
        ReferenceSession(path).run(probe())
    assert "\n" not in str(caught.value)


def test_damaged_package_is_no_artifact(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"absent\.mlpackage: Manifest\.json cannot be read"):
        read_ops(tmp_path / "absent.mlpackage")


def test_any_flipped_byte_of_the_program_is_survived(packages: dict[str, Path], tmp_path: Path) -> None:
    """Whatever a byte says, the answer is a session or one of our errors."""
    path = tmp_path / "model.mlpackage"
    shutil.copytree(packages["fp32"], path)
    content = (path / MODEL).read_bytes()
    draw = np.random.default_rng(0)
    refused = 0
    for position in draw.integers(0, len(content), 150):
        (path / MODEL).write_bytes(content[:position] + bytes([draw.integers(256)]) + content[position + 1 :])
        try:
            ReferenceSession(path)
        except EdgecvxError:
            refused += 1
    assert 0 < refused < 150
