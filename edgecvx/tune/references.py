"""What the sizes of each model get right in FP32 PyTorch: what predictions are made from, and losses are held to."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from edgecvx.data.dataset import Sample, decoded
from edgecvx.data.preprocess import as_input
from edgecvx.errors import UsageError
from edgecvx.files import write_atomically
from edgecvx.sweep.job import hash_of
from edgecvx.tune.request import Model
from edgecvx.tune.workshop import Workshop

BATCH = 8


def rights_of(workshop: Workshop, samples: Sequence[Sample], model: Model, size: int) -> dict[str, bool]:
    """Picture -> whether a network gets it right at a size; kept for a later run, which computes only what is new."""
    asked = {**model.content, "size": size}
    place = workshop.work / "answers" / f"fp32-{hash_of(asked)[:24]}.json"
    try:
        known: dict[str, bool] = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    if missing := [s for s in samples if _key(s) not in known]:
        computed, unreadable = _computed(missing, model, size)
        known |= computed
        if len(unreadable) == len(samples):
            name, reason = next(iter(unreadable.items()))
            raise UsageError(f"none of the {len(samples)} pictures can be decoded, {name!r} for one ({reason})")
        write_atomically(place, json.dumps(known).encode())
    return {s.name: known[_key(s)] for s in samples if _key(s) in known}


def _key(sample: Sample) -> str:
    return f"{sample.sha256[:32]} {sample.label}"


def _computed(samples: Sequence[Sample], model: Model, size: int) -> tuple[dict[str, bool], dict[str, str]]:
    """What it gets right, and why the others cannot be decoded."""
    from edgecvx.runtimes.torch import TorchSession

    loaded = model.load(size)
    spec = loaded.spec.preprocess
    unreadable: dict[str, str] = {}
    right: dict[str, bool] = {}
    for chunk, (pixels,) in decoded(samples, (spec,), BATCH, unreadable):
        session = TorchSession(loaded.module, image_size=size, batch=len(chunk), threads=1)
        (logits,) = session.run(as_input(pixels, spec, session.inputs[0])).values()
        for sample, row in zip(chunk, logits, strict=True):
            right[_key(sample)] = bool(np.argmax(row) == sample.label)
    return right, unreadable
