"""A small sweep: one network of which every file takes a second, and a folder it lies in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgecvx.data import demo

if TYPE_CHECKING:
    from small_classifier import Exported

RECIPE = """\
name = "small"
targets = ["onnx"]
precisions = ["fp32", "int8"]
image_sizes = [64]

[[models]]
name = "mine"
model = "mine.safetensors"
labels = "labels.txt"

[[calibrations]]
name = "few"
samples = 4

[[data]]
name = "drawn"
limit = 24

[[gates]]
max_drop = 100

[[gates]]
max_mb = 1
"""

Write = Callable[..., Path]


@pytest.fixture
def recipe(small_classifier: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes ``RECIPE`` with some texts replaced, beside the checkpoint it names; and nobody's cache is used."""
    monkeypatch.setenv("EDGECVX_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "sweeps"
    folder.mkdir()
    (folder / "mine.safetensors").write_bytes(small_classifier.checkpoint.read_bytes())
    (folder / "labels.txt").write_text("\n".join(demo.CLASSES))

    def write(*replaced: tuple[str, str], more: str = "") -> Path:
        text = RECIPE
        for old, new in replaced:
            assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in the recipe"
            text = text.replace(old, new)
        path = folder / "small.toml"
        path.write_text(text + more)
        return path

    yield write
