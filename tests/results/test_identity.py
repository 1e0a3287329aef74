"""Files are called by their names, and by as much of their paths as it takes to tell them apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgecvx.results.identity import distinct_names


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["new/x.onnx", "new/y.onnx"], ["x.onnx", "y.onnx"]),
        (["new/x.onnx", "old/x.onnx", "old/y.onnx"], ["new/x.onnx", "old/x.onnx", "y.onnx"]),
        (["a/1/x.onnx", "b/1/x.onnx", "b/2/x.onnx"], ["a/1/x.onnx", "b/1/x.onnx", "2/x.onnx"]),
        (["new/x.onnx", "new/x.onnx", "./new/x.onnx"], ["x.onnx"] * 3),
        (["/x.onnx", "/new/x.onnx"], ["/x.onnx", "new/x.onnx"]),
        (["x.onnx", "../x.onnx"], ["here/x.onnx", "up/x.onnx"]),
        ([], []),
    ],
)
def test_the_shortest_end_of_a_path_that_is_its_alone(
    paths: list[str], expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "up" / "here").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "up" / "here")
    assert distinct_names([Path(path) for path in paths]) == expected
