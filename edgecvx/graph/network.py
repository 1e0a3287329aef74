"""From a network as trained to its canonical graph: the exact folds, and the graph of what they leave."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from edgecvx.graph.canonical import build_canonical, metadata_of
from edgecvx.graph.fold import fold, fold_uint8_input
from edgecvx.models.convnext import ConvNeXt
from edgecvx.spec import InputKind, ModelSpec, Task

UINT8_FOLD = "uint8-input"
"""What the manifest calls the fold of the preprocessing, which is done where the input is bytes."""


def canonical_graph(
    module: ConvNeXt,
    spec: ModelSpec,
    *,
    task: Task,
    batch: int,
    input_kind: InputKind,
    folds: Sequence[str] | None = None,
) -> tuple[ir.Model, tuple[str, ...]]:
    """Folds a copy of a network and writes its canonical graph.

    Args:
        module: The network as trained.
        spec: What it is: its preprocessing, and what the graph says of itself.
        task: What the graph returns.
        batch: Pictures per run.
        input_kind: Normalized floats, or the bytes of a picture.
        folds: Names out of ``edgecvx.graph.fold.FOLDS``; None for all of them.

    Returns:
        The graph, and the folds that did something.
    """
    folded = fold(module, folds, task=task)
    module, applied = folded.module, folded.applied
    if input_kind is InputKind.UINT8:
        module, applied = fold_uint8_input(module, spec.preprocess), (*applied, UINT8_FOLD)
    graph = build_canonical(
        module,
        task=task,
        image_size=spec.preprocess.size,
        batch=batch,
        input_kind=input_kind,
        metadata=metadata_of(spec, task),
    )
    return graph, applied
