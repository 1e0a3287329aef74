"""The ONNX Runtime session: it runs what it says, on the provider asked for, and refuses in one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from lowerings import canonical, written
from support import network, probe

pytest.importorskip("onnxruntime")

from edgecvx.errors import RuntimeFailedError, UsageError
from edgecvx.export.onnx import OnnxOptions, lower
from edgecvx.runtimes.onnxruntime import open_session, version


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(lower(canonical(network()), OnnxOptions()), tmp_path_factory.mktemp("onnx"))


def test_threads_do_not_change_the_answer(path: Path) -> None:
    x = probe()
    one, two = (open_session(path, threads=threads).run(x)["logits"] for threads in (1, 2))
    np.testing.assert_allclose(one, two, rtol=0, atol=1e-5 * np.abs(one).max())  # sums may be split between threads
    assert version()[0].isdigit()


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
