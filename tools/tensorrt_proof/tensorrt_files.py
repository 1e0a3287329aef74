"""What the two halves of the proof hand over: the names of the files in the folder, and the plan."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

PICTURES, LOGITS, PLAN = "pictures.npy", "reference.npy", "proof.json"
TABLE, LATENCY = "tensorrt.md", "latency.json"
"""What a run leaves in the folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What there is to prove."""

    model: str
    files: tuple[str, ...]
    """Those for TensorRT, FP32 first, then the native engine's."""
    labels: tuple[int, ...]
    """The right class of each picture."""


def plan_text(plan: Plan) -> str:
    """The plan as JSON."""
    return json.dumps(dataclasses.asdict(plan), indent=1) + "\n"


def read_plan(folder: Path) -> Plan:
    """The plan of a folder; an ``OSError`` or ``ValueError`` where it holds none."""
    data = json.loads((folder / PLAN).read_text())
    return Plan(model=str(data["model"]), files=tuple(data["files"]), labels=tuple(data["labels"]))
