"""The ONNX Runtime session: it runs what it says, on the provider asked for, and refuses in one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from lowerings import canonical, written
from support import network, probe

pytest.importorskip("onnxruntime")

import onnxruntime
from opening import open_onnxruntime as open_session

from edgecvx.errors import RuntimeFailedError, UsageError
from edgecvx.export.onnx.lower import OnnxOptions, lower
from edgecvx.graph.pairs import PAIR_LIMIT
from edgecvx.runtimes import open_session as isolated
from edgecvx.runtimes.engine import version


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(lower(canonical(network()), OnnxOptions()), tmp_path_factory.mktemp("onnx"))


def test_threads_do_not_change_the_answer(path: Path) -> None:
    x = probe()
    one, two = (open_session(path, threads=threads).run(x)["logits"] for threads in (1, 2))
    np.testing.assert_allclose(one, two, rtol=0, atol=1e-5 * np.abs(one).max())  # sums may be split between threads
    assert version("onnxruntime")[0].isdigit()


def test_results_are_the_callers(path: Path) -> None:
    session = open_session(path, threads=1)
    first = session.run(probe(seed=0))["logits"]
    kept = first.copy()
    session.run(probe(seed=1))
    np.testing.assert_array_equal(first, kept)


def test_a_batch_that_does_not_fit_is_refused(path: Path) -> None:
    with pytest.raises(RuntimeFailedError, match="'image' takes float32"):
        open_session(path).run(probe(2))
    with pytest.raises(RuntimeFailedError, match="'image' takes float32"):
        open_session(path).run(probe().astype(np.float64))


def test_no_run_after_close(path: Path) -> None:
    session = open_session(path)
    session.close()
    with pytest.raises(RuntimeFailedError, match="closed"):
        session.run(probe())


def test_a_provider_is_used_or_refused(path: Path) -> None:
    assert open_session(path, options={"provider": "CPUExecutionProvider"}).outputs[0].name == "logits"
    with pytest.raises(UsageError, match=r"has no provider 'NoSuchProvider', only .*CPUExecutionProvider"):
        open_session(path, options={"provider": "NoSuchProvider"})
    with pytest.raises(UsageError, match="unknown option of onnxruntime 'providers': did you mean provider"):
        open_session(path, options={"providers": "CPUExecutionProvider"})


OTHER = "AzureExecutionProvider"
"""One that every build of ONNX Runtime may have, and that takes none of our operations: as a GPU's that takes a few."""


@pytest.mark.skipif(OTHER not in onnxruntime.get_available_providers(), reason=f"this ONNX Runtime has no {OTHER}")
def test_nothing_falls_back_unsaid(path: Path) -> None:
    with pytest.raises(RuntimeFailedError, match="fallback to CPU EP has been explicitly disabled"):
        open_session(path, options={"provider": OTHER})
    session = open_session(path, options={"provider": OTHER, "fallback": "show"})
    (note,) = session.notes
    assert note.startswith(tuple("123456789")) and f"run in CPUExecutionProvider, not in {OTHER}: " in note
    np.testing.assert_array_equal(session.run(probe())["logits"], open_session(path).run(probe())["logits"])


@pytest.mark.skipif(OTHER not in onnxruntime.get_available_providers(), reason=f"this ONNX Runtime has no {OTHER}")
def test_what_falls_back_is_told_across_processes_too(path: Path) -> None:
    session = isolated("onnxruntime", path, threads=1, options={"provider": OTHER, "fallback": "show"})
    try:
        assert "not in" in session.notes[0]  # type: ignore[attr-defined]
    finally:
        session.close()


def test_an_unknown_fallback_is_refused(path: Path) -> None:
    with pytest.raises(UsageError, match="unknown fallback 'hide': known: refuse, show"):
        open_session(path, options={"fallback": "hide"})


@pytest.mark.parametrize("damage", ["empty", "truncated", "foreign", "missing"])
def test_a_bad_file_is_one_clear_line(
    path: Path, damage: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    content = path.read_bytes()
    bad = tmp_path / "bad.onnx"
    if damage != "missing":
        bad.write_bytes({"empty": b"", "truncated": content[: len(content) // 2], "foreign": b"PK\x03\x04" * 9}[damage])
    with pytest.raises(RuntimeFailedError, match=r"bad\.onnx") as refusal:
        open_session(bad)
    assert "\n" not in str(refusal.value) and str(tmp_path) not in str(refusal.value)
    assert capfd.readouterr() == ("", "")


def test_the_largest_sums_a_file_may_ask_for_are_exact_on_every_processor(tmp_path: Path) -> None:
    """x86 kernels without VNNI add two products of uint8 and int8 in 16 bits; weights of 64 beside 64 just fit."""
    weight = onnx.numpy_helper.from_array(np.full((64, 16), PAIR_LIMIT // 2, np.int8), "w")
    one = onnx.numpy_helper.from_array(np.array(1, np.float32), "one")
    make, types = onnx.helper, onnx.TensorProto
    graph = make.make_graph(
        [make.make_node("MatMulIntegerToFloat", ["x", "w", "one", "one"], ["y"], domain="com.microsoft")],
        "largest",
        [make.make_tensor_value_info("x", types.UINT8, [4, 64])],
        [make.make_tensor_value_info("y", types.FLOAT, [4, 16])],
        [weight, one],
    )
    opsets = [make.make_opsetid("", 20), make.make_opsetid("com.microsoft", 1)]
    path = tmp_path / "largest.onnx"
    path.write_bytes(make.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString())
    sums = open_session(path).run(np.full((4, 64), 255, np.uint8))["y"]
    np.testing.assert_array_equal(sums, 64 * 255 * PAIR_LIMIT // 2)
