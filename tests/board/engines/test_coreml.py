"""Core ML's opener away from a Mac: coremltools reads a package anywhere, and what it would predict is computed."""

from __future__ import annotations

import platform
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlpackages import lowered, save
from support import network, probe

if find_spec("coremltools") is None:
    pytest.skip("coremltools is not installed", allow_module_level=True)

from edgecvx.board import engines
from edgecvx.board.engines.base import Refused, Session
from edgecvx.export.coreml.importing import import_coremltools, quiet
from edgecvx.graph.fold import fold, fold_uint8_input
from edgecvx.runtimes import coreml, open_session
from edgecvx.runtimes.mil.executor import ReferenceSession
from edgecvx.spec import InputKind, Precision, PreprocessSpec, Task

CASES: dict[str, dict[str, Any]] = {
    "fp32": {},
    "fp16": {"precision": Precision.FP16},
    "features": {"task": Task.FEATURES},
    "bytes": {"input_kind": InputKind.UINT8},
}


def saved(case: str, folder: Path) -> Path:
    module = network()
    if case == "bytes":
        module = fold_uint8_input(fold(module).module, PreprocessSpec(size=64))
    return save(lowered(module, folds=() if case == "bytes" else None, **CASES[case]), folder)


@pytest.fixture
def a_mac(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine as a Mac: what Core ML would predict is what the reference executor computes."""
    ct = import_coremltools()
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(coreml, "NATIVE", True)

    def predict(model: Any, data: dict[str, Any]) -> dict[str, Any]:
        ((name, x),) = data.items()
        session = ReferenceSession(Path(model.package_path))
        assert session.inputs[0].name == name
        return session.features(np.asarray(x).reshape(session.inputs[0].shape))

    monkeypatch.setattr(ct.models.MLModel, "predict", predict)


def opened(path: Path) -> Session:
    with quiet():
        session: Session = engines.load("coreml", {}).open(path, None)
    return session


@pytest.mark.parametrize("case", CASES)
def test_a_package_is_described_as_the_reference_executor_reads_it(case: str, tmp_path: Path, a_mac: None) -> None:
    path = saved(case, tmp_path)
    session, reference = opened(path), ReferenceSession(path)
    for ours, theirs in ((session.inputs, reference.inputs), (session.outputs, reference.outputs)):
        assert [(t.name, t.shape, t.dtype, t.layout) for t in ours] == [
            (t.name, t.shape, t.dtype, t.layout) for t in theirs
        ]
    assert session.backend == "compute units all"


def test_a_shape_that_the_description_leaves_out_is_read_from_the_program(tmp_path: Path, a_mac: None) -> None:
    """Core ML may leave an output's shape out of it."""
    path = saved("features", tmp_path)
    session, described = opened(path), ReferenceSession(path).outputs
    for value in session._written:
        value.type.multiArrayType.ClearField("shape")
    assert [output.shape for output in session.outputs] == [spec.shape for spec in described]


@pytest.mark.parametrize("case", CASES)
def test_what_is_timed_is_what_is_validated(case: str, tmp_path: Path, a_mac: None) -> None:
    path = saved(case, tmp_path)
    x = probe() if case != "bytes" else np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), np.uint8)
    expected = ReferenceSession(path).features(x)
    timed = opened(path)
    validated = open_session("coreml", path, options={"executor": "native"}, isolated=False).run(x)
    for output, array in zip(timed.outputs, timed.run(x), strict=True):
        np.testing.assert_array_equal(array, expected[output.name])
        np.testing.assert_array_equal(validated[output.name], expected[output.name])


@pytest.mark.skipif(platform.system() == "Darwin", reason="here is a Mac")
def test_elsewhere_it_is_refused() -> None:
    with pytest.raises(Refused, match="on a Mac only"):
        engines.load("coreml", {})
