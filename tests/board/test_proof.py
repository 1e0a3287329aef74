"""What is kept of a file's answers where it was proved, and how others are compared with it."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecvx.board.batches import in_batches
from edgecvx.board.device.processors import Processor
from edgecvx.board.proof import (
    SAMPLES,
    Proof,
    difference,
    expected,
    refusal,
    sample,
)
from edgecvx.spec import from_json

PROCESSOR = Processor(name="A PC", machine="x86_64", kind="AVX2", instructions=("avx2", "fma"))


def answers(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def proof_of(output: NDArray[np.float32], reference: NDArray[np.float32] | None = None) -> Proof:
    kept = expected("logits", output, output if reference is None else reference)
    return Proof(processor=PROCESSOR, engine="onnxruntime", outputs=(kept,))


def test_of_few_values_all_are_kept_and_of_many_a_few_from_end_to_end() -> None:
    few, many = answers(5, 24), answers(5, 7, 7, 320)
    np.testing.assert_array_equal(sample(few), few)
    kept = sample(many)
    assert kept.shape == (5, SAMPLES)
    np.testing.assert_array_equal(kept[:, [0, -1]], many.reshape(5, -1)[:, [0, -1]])


@pytest.mark.parametrize("shape", [(5, 56, 56, 40), (5, 40, 56, 56), (5, 7, 7, 320)])
def test_what_is_kept_of_a_map_is_of_many_channels_and_many_places(shape: tuple[int, ...]) -> None:
    """Evenly spaced numbers may all be of one channel: a step of 3920 is 98 pixels of 40 channels."""
    for axis in range(1, 4):
        where = np.broadcast_to(np.arange(shape[axis]).reshape([-1 if a == axis else 1 for a in range(4)]), shape)
        assert len(np.unique(sample(where)[0])) >= min(shape[axis], SAMPLES) // 2


def test_the_same_answers_are_off_by_nothing_and_others_by_what_they_are_off() -> None:
    output = answers(5, 24)
    proof = proof_of(output)
    spread = float(output.max() - output.min())
    assert difference(proof, {"logits": output})[1] < 1e-6  # what is kept is rounded
    moved = output + np.float32(0.01 * spread) * np.where(answers(5, 24, seed=1) > 0, 1, -1)
    name, off = difference(proof, {"logits": moved})
    assert (name, round(off, 5)) == ("logits", 0.01)


def test_one_value_that_is_wrong_is_no_small_matter() -> None:
    output = answers(5, 24)
    wrong = output.copy()
    wrong[3, 17] += 0.5 * (output.max() - output.min())
    assert difference(proof_of(output), {"logits": wrong})[1] == pytest.approx(0.5 / math.sqrt(5 * 24), rel=1e-3)


@pytest.mark.parametrize(
    "broken", [{}, {"other": answers(5, 24)}, {"logits": answers(4, 24)}, {"logits": answers(5, 3)}]
)
def test_an_output_that_is_missing_or_has_another_shape_is_infinitely_far(
    broken: dict[str, NDArray[np.float32]],
) -> None:
    assert difference(proof_of(answers(5, 24)), broken) == ("logits", math.inf)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_is_infinitely_far(value: float) -> None:
    output = answers(5, 24)
    wrong = output.copy()
    wrong[0, 0] = value
    assert difference(proof_of(output), {"logits": wrong}) == ("logits", math.inf)


def test_the_worst_output_is_named() -> None:
    output = answers(5, 24)
    both = (expected("near", output, output), expected("far", output, output))
    proof = Proof(processor=PROCESSOR, engine="onnxruntime", outputs=both)
    assert difference(proof, {"near": output, "far": output + 1})[0] == "far"


def test_an_output_that_never_changes_may_not_change() -> None:
    """As of a head that was not trained yet; it has no range to be a part of."""
    output = np.full((5, 3), 0.1, np.float32)
    proof = proof_of(output)
    assert difference(proof, {"logits": output})[1] == 0
    assert difference(proof, {"logits": output + 1e-3})[1] == math.inf


def test_the_noise_is_how_far_it_was_from_its_reference() -> None:
    output = answers(5, 24)
    spread = float(output.max() - output.min())
    assert proof_of(output, output + np.float32(0.02 * spread)).outputs[0].noise == pytest.approx(0.02, rel=0.05)


def test_values_far_from_zero_are_kept_to_a_part_of_their_range() -> None:
    output = 1000 + 1e-3 * answers(5, 24).astype(np.float64)
    kept = expected("logits", output, output)
    np.testing.assert_allclose(kept.values, output, rtol=0, atol=1e-6 * (output.max() - output.min()))


def test_a_proof_travels_as_plain_values() -> None:
    proof = proof_of(answers(5, 24))
    assert from_json(Proof, json.loads(json.dumps(dataclasses.asdict(proof)))) == proof


def test_it_holds_on_the_same_class_in_the_same_runtime_and_nowhere_else() -> None:
    proof = proof_of(answers(5, 24))
    assert proof.holds("AVX2", "onnxruntime", {})
    assert not proof.holds("AVX-512", "onnxruntime", {})
    assert not proof.holds("AVX2", "tensorrt", {})
    assert not proof.holds("AVX2", "onnxruntime", {"provider": "CUDAExecutionProvider"})


def test_unknown_processors_are_not_of_one_class() -> None:
    nowhere = dataclasses.replace(proof_of(answers(5, 24)), processor=dataclasses.replace(PROCESSOR, kind=None))
    assert not nowhere.holds(None, "onnxruntime", {})


def test_places_are_told_by_what_sets_them_apart() -> None:
    proof = proof_of(answers(5, 24))
    assert (proof.here("NEON", "onnxruntime", {}), proof.there("onnxruntime", {})) == ("NEON", "AVX2")
    assert proof.here(None, "tensorrt", {}) == "unknown class in tensorrt"
    assert proof.there("tensorrt", {}) == "AVX2 in onnxruntime"
    options = {"device": "GPU"}
    assert proof.here("AVX2", "onnxruntime", options) == "AVX2 in onnxruntime with device=GPU"


def test_the_refusal_says_where_what_and_how_much() -> None:
    assert refusal("x.onnx", "AVX2", "AMX", "logits", 0.2149, 0.0031) == (
        "x.onnx computes something else on this processor (AVX2) than where it was proved (AMX): "
        "output 'logits' is off by 0.21 of its range, allowed is 0.0031"
    )
    assert refusal("it", "AVX2", "AMX", "logits", math.inf, 0.1).endswith("holds numbers that are not finite")


@pytest.mark.parametrize("batch", [1, 2, 5, 8])
def test_probes_are_run_in_batches_and_what_fills_the_last_one_is_cut(batch: int) -> None:
    probes = answers(5, 4)

    def run(part: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        assert part.shape == (batch, 4)
        return [part * 2, part.sum(axis=1, keepdims=True)]

    found = in_batches(
        lambda pictures: dict(zip(("double", "sum"), run(np.stack(pictures)), strict=True)), probes, batch
    )
    np.testing.assert_array_equal(found["double"], probes * 2)
    np.testing.assert_array_equal(found["sum"], probes.sum(axis=1, keepdims=True))
