"""A module's own forward pass beside that of the network built from its tensors.

A state dict says nothing of what is done with it. Somebody's fine-tune may normalize inside, pool otherwise, end in a
softmax or carry a hook: its weights would load, and the file would answer something else than the model they know.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from edgecvx.data.preprocess import normalize
from edgecvx.data.probe import probe_pictures
from edgecvx.errors import CheckpointError
from edgecvx.models.assemble import LoadedModel
from edgecvx.models.convnext import ConvNeXt
from edgecvx.proof.metrics import max_error_of_range

LIMIT = 1e-5
"""The largest difference, as a fraction of the range. The same sums in float32, in another order and with linear layers
in place of 1x1 convolutions, differ by 6e-7 at most from femto to tiny; tanh's GELU in one block moves the answers by
9e-5. What stays below, as an epsilon of 1e-5 for 1e-6 in every norm (3e-6), is less than what a file may be off."""

_NAMES = ("logits", "pooler_output", "last_hidden_state")
"""Of what transformers' classes return, the first of these that is there."""


def check_forward(given: nn.Module, loaded: LoadedModel, where: str) -> None:
    """Holds the network that was built from a module's tensors to the module itself.

    Args:
        given: The module, in float32 on the CPU, not training.
        loaded: What was built.
        where: What to call the module.

    Raises:
        CheckpointError: They answer the probe pictures differently, or the module does not answer.
    """
    size, preprocess = loaded.spec.preprocess.size, loaded.spec.preprocess
    pixels = np.stack([normalize(picture, preprocess) for picture in probe_pictures(size)])
    x = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))
    theirs = _answer(given, x, where)
    name, ours = _alike(theirs, loaded.module, x, where)
    if not bool(torch.isfinite(theirs).all()):
        raise CheckpointError(f"{where} gives NaN or infinity on the probe pictures: its weights are damaged")
    off = max_error_of_range(ours.numpy(), theirs.numpy())
    if off > LIMIT:
        raise CheckpointError(
            f"{where} computes something else than a ConvNeXt of its weights: its {name} differ by {off:.1g} of their "
            "range on the probe pictures. A layer around it, a hook, or a forward pass, activation or epsilon of its "
            "own changes them: give the plain network inside"
        )


@torch.inference_mode()
def _answer(module: nn.Module, x: Tensor, where: str) -> Tensor:
    """What a module returns for pictures, whoever's class it is."""
    try:
        answer = module.embed(x) if isinstance(module, ConvNeXt) and not module.num_classes else module(x)
    except Exception as error:  # noqa: BLE001 (the code of a stranger, who may raise anything)
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise CheckpointError(f"{where} cannot be asked: on pictures of {x.shape[-1]} px it raises {reason}") from None
    if not isinstance(answer, Tensor):
        found = (getattr(answer, name, None) for name in _NAMES)
        answer = next((tensor for tensor in found if isinstance(tensor, Tensor)), answer)
    if not isinstance(answer, Tensor):
        raise CheckpointError(f"{where} returns a {type(answer).__name__}, in which no logits can be found")
    return answer.float()


@torch.inference_mode()
def _alike(theirs: Tensor, module: ConvNeXt, x: Tensor, where: str) -> tuple[str, Tensor]:
    """Which of our network's answers has the shape of theirs."""
    last = module.features(x)[-1]
    vector = module.head.embed(last)
    answers = {
        "logits": module.head.fc(vector) if module.head.fc is not None else None,
        "vectors": vector,
        "maps": last,
    }
    for name, ours in answers.items():
        if ours is not None and ours.shape == theirs.shape:
            return name, ours
    known = ", ".join(str(list(ours.shape)) for ours in answers.values() if ours is not None)
    raise CheckpointError(f"{where} returns {list(theirs.shape)} for {len(x)} pictures; its weights give {known}")
