"""Small Core ML packages for the tests: lowered from a network, and saved as an export saves them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecvx.export.base import Lowered
from edgecvx.export.coreml.lower import lower
from edgecvx.export.coreml.options import CoreMLOptions
from edgecvx.graph.canonical import build_canonical
from edgecvx.graph.fold import fold
from edgecvx.spec import InputKind, Precision, Task

if TYPE_CHECKING:
    from edgecvx.models.convnext import ConvNeXt


def lowered(
    module: ConvNeXt,
    *,
    precision: Precision = Precision.FP32,
    folds: Sequence[str] | None = None,
    task: Task = Task.CLASSIFY,
    size: int = 64,
    batch: int = 1,
    input_kind: InputKind = InputKind.FLOAT,
    metadata: Mapping[str, str] | None = None,
    **options: Any,
) -> Lowered:
    """A network as a Core ML package in memory; ``options`` are those of ``CoreMLOptions``."""
    graph = build_canonical(
        fold(module, folds, task=task).module,
        task=task,
        image_size=size,
        batch=batch,
        input_kind=input_kind,
        metadata=dict(metadata or {}),
    )
    return lower(graph, CoreMLOptions(precision=precision, **options))


def save(package: Lowered, folder: Path) -> Path:
    """Writes a package's files, and returns the ``.mlpackage``."""
    for suffix, content in package.files.items():
        file = folder / f"model{suffix}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return folder / "model.mlpackage"
