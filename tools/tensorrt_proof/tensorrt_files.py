"""What the two halves of the proof hand over: the names of the files in the folder, and the plan."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from edgecvx.spec import from_json, to_json

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
    return json.dumps(to_json(plan), indent=1) + "\n"


def read_plan(folder: Path) -> Plan:
    """The plan of a folder.

    Raises:
        OSError: There is none.
        ValueError: It is no JSON.
        EdgecvxError: It is JSON of something else.
    """
    return from_json(Plan, json.loads((folder / PLAN).read_text()), where=PLAN)
