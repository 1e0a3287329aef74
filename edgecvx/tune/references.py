"""What the sizes of each model get right in FP32 PyTorch, on the pictures that predictions are made from."""

from __future__ import annotations

import json

import numpy as np
from numpy.typing import NDArray

from edgecvx.data.dataset import decoded
from edgecvx.data.preprocess import as_input
from edgecvx.errors import UsageError
from edgecvx.files import write_atomically
from edgecvx.sweep.job import hash_of
from edgecvx.tune.pictures import Pictures
from edgecvx.tune.request import Model
from edgecvx.tune.workshop import Workshop

BATCH = 8


def rights_of(workshop: Workshop, pictures: Pictures, model: Model, size: int) -> NDArray[np.bool_]:
    """Which of the search's pictures a network gets right at a size; kept for a later run."""
    asked = {"weights": model.spec.weights.sha256, "size": size, "pictures": [s.sha256 for s in pictures.search]}
    place = workshop.work / "answers" / f"fp32-{hash_of(asked)[:24]}.json"
    try:
        return np.array(json.loads(place.read_text(encoding="utf-8"))["right"], dtype=bool)
    except (OSError, ValueError, KeyError):
        pass
    right = _computed(pictures, model, size)
    write_atomically(place, json.dumps({"right": right.tolist()}).encode())
    return right


def _computed(pictures: Pictures, model: Model, size: int) -> NDArray[np.bool_]:
    from edgecvx.runtimes.torch import TorchSession

    loaded = model.load(size)
    spec = loaded.spec.preprocess
    unreadable: dict[str, str] = {}
    right: dict[str, bool] = {}
    for samples, (pixels,) in decoded(pictures.search, (spec,), BATCH, unreadable):
        session = TorchSession(loaded.module, image_size=size, batch=len(samples))
        (logits,) = session.run(as_input(pixels, spec, session.inputs[0])).values()
        for sample, row in zip(samples, logits, strict=True):
            right[sample.name] = bool(np.argmax(row) == sample.label)
    if not right:
        name, reason = next(iter(unreadable.items()))
        raise UsageError(f"none of the {len(unreadable)} pictures can be decoded, {name!r} for one ({reason})")
    return np.array([right.get(s.name, False) for s in pictures.search])
