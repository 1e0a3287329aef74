"""A file that ends in a softmax gives the probabilities of the network, and is held to what its logits would be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import assert_close

import edgecvx
from edgecvx.errors import SelfCheckError, UsageError
from edgecvx.pipeline import Exported
from edgecvx.proof.selfcheck import self_check
from edgecvx.runtimes.logits import as_logits, softmax, told_apart
from edgecvx.spec import Precision, TensorSpec

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def exported(small_classifier: Any, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    out = tmp_path_factory.mktemp("probabilities")
    labels = small_classifier.manifest.model.labels
    (artifact,) = edgecvx.export(
        small_classifier.checkpoint, target="onnx", image_size=64, labels=labels, output="probabilities", out=out
    ).artifacts
    return artifact


def pictures() -> list[np.ndarray]:
    from edgecvx.data import demo

    return [demo.picture(index, stream="validation", size=64)[0] for index in range(4)]


def test_it_says_so_in_its_name_and_its_output(exported: Exported) -> None:
    assert exported.path.name.endswith("-64-probabilities-fp32.onnx")
    assert exported.manifest.returns_probabilities
    assert exported.manifest.outputs[0].name == "probabilities"


def test_it_returns_the_softmax_of_the_logits(exported: Exported, small_classifier: Any) -> None:
    with edgecvx.load(exported.path) as ours, edgecvx.load(small_classifier.path) as usual:
        found = ours.run_pictures(pictures())["probabilities"]
        expected = softmax(usual.run_pictures(pictures())["logits"])
        assert_close(found, expected, 1e-5, why="float32, and a softmax behind it")
        assert found.sum(axis=1) == pytest.approx(1)


def test_whoever_opens_it_sees_the_same_answers(exported: Exported, small_classifier: Any) -> None:
    with edgecvx.load(exported.path) as ours, edgecvx.load(small_classifier.path) as usual:
        for found, expected in zip(ours(pictures()), usual(pictures()), strict=True):
            assert [f["label"] for f in found] == [e["label"] for e in expected]
            assert [f["score"] for f in found] == pytest.approx([e["score"] for e in expected], rel=1e-3, abs=1e-6)


def test_it_is_validated_as_a_file_of_logits_is(exported: Exported, small_classifier: Any, tmp_path: Path) -> None:
    found = edgecvx.validate(
        [exported.path, small_classifier.path],
        limit=8,
        threads=1,
        checkpoints=[small_classifier.checkpoint],
        cache_dir=tmp_path,
    )
    ours, usual = found.artifacts
    assert (ours.error, ours.findings, ours.answers.flips if ours.answers else None) == (None, (), 0)
    assert ours.top1 == usual.top1
    assert ours.outputs[0].cosine_min == pytest.approx(1, abs=1e-6)


SPEC = (TensorSpec(name="probabilities", shape=(1, 4), dtype="float32", layout="NC"),)
LOGITS = np.array([[9.0, 1.0, -3.0, 2.0], [0.5, 4.0, 1.0, -2.0]])


def checked(answers: np.ndarray) -> float:
    check = self_check(
        {"probabilities": answers},
        runtime="none",
        outputs=SPEC,
        expected=[softmax(LOGITS)],
        precision=Precision.FP32,
    )
    return check.max_error


def test_the_self_check_sees_what_a_softmax_hides() -> None:
    assert checked(softmax(LOGITS).astype(np.float32)) < 1e-6
    off = LOGITS.copy()
    off[0, 2] += 0.5  # an unlikely class: its probability moves by 6e-6
    assert np.abs(softmax(off) - softmax(LOGITS)).max() < 1e-5
    with pytest.raises(SelfCheckError, match="is off by"):
        checked(softmax(off))


@pytest.mark.parametrize(
    "wrong",
    [LOGITS, softmax(LOGITS / 2), 0.99 * softmax(LOGITS), softmax(LOGITS) * np.nan],
    ids=["no softmax", "another temperature", "not adding up", "no numbers"],
)
def test_what_is_no_softmax_of_these_logits_is_not_handed_over(wrong: np.ndarray) -> None:
    with pytest.raises(SelfCheckError):
        checked(wrong)


def test_probabilities_are_logits_up_to_a_number_per_row() -> None:
    assert softmax(as_logits(softmax(LOGITS))) == pytest.approx(softmax(LOGITS))
    assert np.ptp(told_apart(LOGITS) - LOGITS, axis=1) == pytest.approx(0, abs=1e-9)
    assert told_apart(np.array([[0.0, -99.0]])).min() == pytest.approx(np.log(1e-7))


@pytest.mark.parametrize("target", ["native", "web"])
def test_an_engine_without_softmax_refuses(target: str, tmp_path: Path) -> None:
    pytest.importorskip("ziglang")
    with pytest.raises(UsageError, match=f"target {target} returns logits: its engine ends with the classifier"):
        edgecvx.export("atto", target=target, precision="int8", weights="demo", output="probabilities", out=tmp_path)


def test_what_has_no_classes_has_no_probabilities(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="features has no classes"):
        edgecvx.export("atto", target="onnx", weights="demo", task="features", output="probabilities", out=tmp_path)
