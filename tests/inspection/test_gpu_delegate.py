"""The GPU delegate's opinion is TensorFlow's, and its silence is not taken for consent."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from waiting import PATIENCE

from edgecvx.errors import RuntimeFailedError
from edgecvx.inspection import gpu_delegate
from edgecvx.inspection.gpu_delegate import gpu_opinion, read_opinion
from edgecvx.pipeline import export

needs_tensorflow = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason="TensorFlow is not installed"
)


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorFlow takes its time to load, on a busy machine any time."""
    monkeypatch.setattr(gpu_delegate, "_PATIENCE", PATIENCE)


@needs_tensorflow
def test_the_files_we_write_are_taken(tmp_path: Path) -> None:
    (artifact,) = export("test_convnext2", target="tflite", weights="random", image_size=64, out=tmp_path).artifacts
    opinion = gpu_opinion(artifact.path)
    assert opinion.compatible
    assert opinion.runtime is not None and not opinion.reasons


@needs_tensorflow
def test_no_opinion_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "broken.tflite"
    path.write_bytes(b"\0\0\0\0TFL3" + bytes(100))
    with pytest.raises(RuntimeFailedError, match=r"no opinion on broken\.tflite"):
        gpu_opinion(path)


def test_a_refusal_is_given_in_the_delegates_words() -> None:
    said = (
        "  Op#3 CAST(T#1) -> [T#2]\nGPU COMPATIBILITY WARNING: Not supported op CAST\n"
        "GPU COMPATIBILITY WARNING: Not supported op CAST\n\n"
        "GPU COMPATIBILITY WARNING: Subgraph#0 has GPU delegate compatibility issues at nodes 3 with version 2.21.0\n"
    )
    opinion = read_opinion(said, "x.tflite")
    assert not opinion.compatible
    assert opinion.reasons[0] == "Not supported op CAST" and len(opinion.reasons) == 2


def test_silence_is_no_consent() -> None:
    with pytest.raises(RuntimeFailedError, match="no opinion"):
        read_opinion("=== x.tflite ===\n", "x.tflite")
