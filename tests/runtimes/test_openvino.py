"""The OpenVINO session: it computes in the precision asked for, and refuses in one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from lowerings import canonical, reference, written
from support import network, probe, relative_error

pytest.importorskip("openvino")

from opening import open_openvino as open_session

from edgecvx.errors import RuntimeFailedError, UsageError
from edgecvx.export.base import Options
from edgecvx.export.openvino.lower import lower
from edgecvx.runtimes.engine import version


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(lower(canonical(network()), Options()), tmp_path_factory.mktemp("openvino"))


def test_threads_do_not_change_the_answer(path: Path) -> None:
    x = probe()
    one, two = (open_session(path, threads=threads).run(x)["logits"] for threads in (1, 2))
    np.testing.assert_allclose(one, two, rtol=0, atol=1e-5 * np.abs(one).max())  # sums may be split between threads
    assert version("openvino").count(".") == 2


def test_results_are_the_callers(path: Path) -> None:
    session = open_session(path, threads=1)
    first = session.run(probe(seed=0))["logits"]
    kept = first.copy()
    session.run(probe(seed=1))
    np.testing.assert_array_equal(first, kept)


def test_fp32_is_computed_in_fp32(path: Path) -> None:
    """Left alone, OpenVINO would take bfloat16 wherever the processor has it, with 3 digits instead of 7."""
    x = probe()
    session = open_session(path)
    assert session.arithmetic == "f32"
    assert relative_error(session.run(x)["logits"], reference(network(), x)[0]) < 1e-5


@pytest.mark.parametrize("precision", ["bf16", "f16"])
def test_another_precision_is_used_or_refused(path: Path, precision: str) -> None:
    try:
        session = open_session(path, options={"precision": precision})
    except RuntimeFailedError as refusal:
        assert f"not in {precision} as asked" in str(refusal)
        return
    assert session.arithmetic == precision
    error = relative_error(session.run(probe())["logits"], reference(network(), probe())[0])
    assert 1e-5 < error < 0.1  # it really is another precision: 8 or 11 bits of mantissa


def test_options_are_checked(path: Path) -> None:
    with pytest.raises(UsageError, match="unknown precision 'fp64': did you mean f16, bf16"):
        open_session(path, options={"precision": "fp64"})
    with pytest.raises(UsageError, match=r"has no device 'TOASTER' here, only .*CPU"):
        open_session(path, options={"device": "TOASTER"})
    with pytest.raises(UsageError, match="unknown option of openvino 'devices': did you mean device"):
        open_session(path, options={"devices": "CPU"})


def test_a_batch_that_does_not_fit_is_refused(path: Path) -> None:
    with pytest.raises(RuntimeFailedError, match="'image' takes float32"):
        open_session(path).run(probe(2))


def test_no_run_after_close(path: Path) -> None:
    session = open_session(path)
    session.close()
    with pytest.raises(RuntimeFailedError, match="closed"):
        session.run(probe())


@pytest.mark.parametrize("damage", ["empty", "truncated", "foreign", "missing", "no weights", "few weights"])
def test_a_bad_file_is_one_clear_line(
    path: Path, damage: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    xml, weights = path.read_bytes(), path.with_suffix(".bin").read_bytes()
    bad = tmp_path / "bad.xml"
    if damage != "missing":
        bad.write_bytes(
            {"empty": b"", "truncated": xml[: len(xml) // 2], "foreign": b"PK\x03\x04" * 9}.get(damage, xml)
        )
    if damage != "no weights":
        bad.with_suffix(".bin").write_bytes(weights[:1000] if damage == "few weights" else weights)
    with pytest.raises(RuntimeFailedError, match=r"bad\.xml") as refusal:
        open_session(bad)
    assert "\n" not in str(refusal.value) and str(tmp_path) not in str(refusal.value)
    assert capfd.readouterr() == ("", "")
