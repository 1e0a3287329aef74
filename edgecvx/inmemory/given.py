"""Whatever a program calls its model: a name, a file, or the module itself."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from edgecvx.errors import UsageError
from edgecvx.inmemory.configuration import TAKEN
from edgecvx.inmemory.module import called, load_module
from edgecvx.models.labels import Labels
from edgecvx.models.load import LoadedModel, load_model


def load_given(
    model: object,
    *,
    weights: str = "auto",
    image_size: int | None = None,
    labels: Labels | None = None,
    preprocess: object | None = None,
    name: str | None = None,
    seed: int = 0,
) -> LoadedModel:
    """Loads what a program gives as its model.

    Args:
        model: What ``edgecvx.models.load.load_model`` takes, or a module.
        weights: For a named variant.
        image_size: Side of the input, a multiple of 32.
        labels: The class names, or a file with them.
        preprocess: How pictures are prepared, where the model does not say.
        name: What to call a module, which has no file's name.
        seed: For ``random`` weights.

    Raises:
        EdgecvxError: It cannot be taken; in one sentence, why.
    """
    if isinstance(model, nn.Module):
        if weights != "auto":
            raise UsageError(f"{called(model)} already holds its weights: leave weights={weights!r} out")
        return load_module(model, image_size=image_size, labels=labels, preprocess=preprocess, name=name)
    if not isinstance(model, str | Path):
        raise UsageError(f"a model is not a {type(model).__name__}: give a name, a checkpoint file, or {TAKEN}")
    if name is not None:
        raise UsageError(f"{model} has a name already: name={name!r} is for a module in memory")
    return load_model(model, weights=weights, image_size=image_size, labels=labels, preprocess=preprocess, seed=seed)
