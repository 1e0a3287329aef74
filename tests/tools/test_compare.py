"""The table of a file on two processors: what stands in it is what differs, and what was refused is said."""

from __future__ import annotations

import json
from pathlib import Path

import compare
import numpy as np
import pytest
from compare import HEAD, Network, answers_on, markdown, rows_of
from emulated import THIS, Processor, Way
from lowerings import canonical
from support import network, probe

from edgecvx.export.onnx.lower import OnnxOptions, lower
from edgecvx.spec import Precision

OTHER = Processor(name="Other", way=Way.QEMU, kind="AVX2")
REFERENCE = np.array([[4.0, 1.0, 0.0], [0.0, 3.0, 1.0], [1.0, 0.0, 2.0]], np.float32)
LABELS = np.array([0, 1, 1])


def test_a_row_says_what_differs() -> None:
    here = REFERENCE + np.float32(0.1)
    there = here.copy()
    there[2] = (2.1, 0.1, 1.1)  # another first class, by 1 of a range of 4
    beside = Network(variant="atto", files=(), reference=REFERENCE, here={"a.onnx": here})
    (row,) = rows_of(beside, OTHER, {"a.onnx": there}, LABELS)
    assert (row.file, row.processor, row.pictures, row.same_class) == ("a.onnx", "Other (qemu)", 3, 2)
    assert row.difference == pytest.approx(0.25)
    assert row.worst_cosine == pytest.approx(here[2] @ there[2] / (here[2] @ here[2]))
    assert row.mean_cosine == pytest.approx((2 + row.worst_cosine) / 3)
    assert (row.right, row.right_here) == (2, 2)
    assert row.sqnr is not None and row.sqnr_here is not None
    assert row.sqnr_here == pytest.approx(10 * np.log10(32 / 0.09))
    assert row.sqnr < row.sqnr_here - 10
    assert markdown(row).count("|") == HEAD[0].count("|") == HEAD[1].count("|")


def test_a_file_that_is_the_same_is_called_equal() -> None:
    """An emulator gets fewer pictures: it is held to the same ones."""
    beside = Network(variant="atto", files=(), reference=REFERENCE, here={"a.onnx": REFERENCE})
    (row,) = rows_of(beside, OTHER, {"a.onnx": REFERENCE[:2]}, LABELS)
    assert (row.pictures, row.same_class, row.difference, row.right) == (2, 2, 0.0, 2)
    assert "| 2 of 2 | equal | 1.000000 | 1.000000 | no noise | no noise | 2 | 2 |" in markdown(row)


def test_a_refused_file_is_told_and_the_others_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "OUT", tmp_path)
    images = probe(3)
    np.save(tmp_path / "images.npy", images)
    pictures = compare.Pictures(path=tmp_path / "images.npy", labels=LABELS)
    good, bad = tmp_path / "good.onnx", tmp_path / "bad.onnx"
    good.write_bytes(lower(canonical(network()), OnnxOptions(precision=Precision.FP32)).files[".onnx"])
    bad.write_bytes(b"no model")
    asked = Network(variant="atto", files=(bad, good), reference=REFERENCE, here={})
    answers, refused = answers_on(THIS, asked, pictures, 2)
    assert {name: array.shape for name, array in answers.items()} == {"good.onnx": (2, 10)}
    assert len(refused) == 1 and refused[0].startswith("bad.onnx: ONNX Runtime refuses bad.onnx: ")
    compare.write([], refused)
    assert f"Refused: {refused[0]}" in (tmp_path / "answers.md").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "answers.json").read_text(encoding="utf-8"))["refused"] == list(refused)
