"""Proofs of files that nobody proved, for tests that need a manifest; and of other processors than this one."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path

from edgecvx.board.device.processors import Processor, this_processor
from edgecvx.board.proof import SAMPLES, Expected, Proof
from edgecvx.manifest import Manifest, manifest_path, read_manifest
from edgecvx.spec import TensorSpec, to_json

ELSEWHERE = Processor(name="A processor of the tests", machine="x86_64", kind="of the tests", instructions=())
"""Of a class that no real processor is of, and that nothing was proved on."""


def a_proof(outputs: Sequence[TensorSpec], engine: str, *, probes: int = 5) -> Proof:
    """As if every output had been zero for every probe picture, on this very processor."""
    rows = [((0.0,) * min(SAMPLES, math.prod(spec.shape[1:])),) * probes for spec in outputs]
    expected = [Expected(spec.name, 0.0, 0.0, 0.0, values) for spec, values in zip(outputs, rows, strict=True)]
    return Proof(processor=this_processor(), engine=engine, outputs=tuple(expected))


def proved_elsewhere(artifact: Path, *, off: float = 0.0) -> Manifest:
    """Rewrites a manifest: the file was proved on another class of processors, where its answers were higher.

    Args:
        artifact: The file.
        off: By how much, as a part of the range of each output.
    """
    manifest = read_manifest(artifact)
    outputs = []
    for output in manifest.proof.outputs:
        by = off * (output.high - output.low)
        values = tuple(tuple(value + by for value in row) for row in output.values)
        outputs.append(dataclasses.replace(output, values=values))
    proof = dataclasses.replace(manifest.proof, processor=ELSEWHERE, outputs=tuple(outputs))
    changed = dataclasses.replace(manifest, proof=proof)
    manifest_path(artifact).write_text(json.dumps(to_json(changed)), encoding="utf-8")
    return changed
