"""The four ways a ConvNeXt's tensors are named, translated into ours, which is timm's with 1x1 convolutions.

They hold the same numbers in the same order. What differs besides the names: a fully connected layer in place of a
1x1 convolution, and GRN's vectors with three leading dimensions of 1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from edgecvx.errors import CheckpointError
from edgecvx.models.weightfile import few
from edgecvx.spec import LayoutName


def _like_the_original(depthwise: str, pointwise: str, norm: str, classifier: str) -> Mapping[str, str]:
    """The names in the original repository and what descends from it, which calls four modules as it likes."""
    return {
        "downsample_layers.0.{n}.{wb}": "stem.{n}.{wb}",
        "downsample_layers.{i}.{n}.{wb}": "stages.{i}.downsample.{n}.{wb}",
        f"stages.{{i}}.{{j}}.{depthwise}.{{wb}}": "stages.{i}.blocks.{j}.conv_dw.{wb}",
        "stages.{i}.{j}.norm.{wb}": "stages.{i}.blocks.{j}.norm.{wb}",
        f"stages.{{i}}.{{j}}.{pointwise}{{n}}.{{wb}}": "stages.{i}.blocks.{j}.mlp.fc{n}.{wb}",
        "stages.{i}.{j}.grn.gamma": "stages.{i}.blocks.{j}.mlp.grn.weight",
        "stages.{i}.{j}.grn.beta": "stages.{i}.blocks.{j}.mlp.grn.bias",
        "stages.{i}.{j}.gamma": "stages.{i}.blocks.{j}.gamma",
        f"{norm}.{{wb}}": "head.norm.{wb}",
        f"{classifier}.{{wb}}": "head.fc.{wb}",
    }


_ORIGINAL = _like_the_original("dwconv", "pwconv", "norm", "head")
"""facebookresearch/ConvNeXt and ConvNeXt-V2."""

# Theirs -> ours, one row per tensor of the network. {i} is a stage, {j} a block, {n} a place in a sequence, {wb} is
# "weight" or "bias". The first layout of two that explain a file equally well is taken.
_NAMES: Mapping[LayoutName, Mapping[str, str]] = {
    "timm": {ours: ours for ours in _ORIGINAL.values()},
    "original": _ORIGINAL,
    "mmpretrain": _like_the_original("depthwise_conv", "pointwise_conv", "norm3", "head.fc"),
    "transformers": {
        "embeddings.patch_embeddings.{wb}": "stem.0.{wb}",
        "embeddings.layernorm.{wb}": "stem.1.{wb}",
        "encoder.stages.{i}.downsampling_layer.{n}.{wb}": "stages.{i}.downsample.{n}.{wb}",
        "encoder.stages.{i}.layers.{j}.dwconv.{wb}": "stages.{i}.blocks.{j}.conv_dw.{wb}",
        "encoder.stages.{i}.layers.{j}.layernorm.{wb}": "stages.{i}.blocks.{j}.norm.{wb}",
        "encoder.stages.{i}.layers.{j}.pwconv{n}.{wb}": "stages.{i}.blocks.{j}.mlp.fc{n}.{wb}",
        "encoder.stages.{i}.layers.{j}.grn.{wb}": "stages.{i}.blocks.{j}.mlp.grn.{wb}",
        "encoder.stages.{i}.layers.{j}.layer_scale_parameter": "stages.{i}.blocks.{j}.gamma",
        "layernorm.{wb}": "head.norm.{wb}",
        "classifier.{wb}": "head.fc.{wb}",
    },
}

# What a framework puts before the names of the network proper, but not before those of its classifier.
_BODY: Mapping[LayoutName, tuple[str, ...]] = {
    "timm": (),
    "original": (),
    "mmpretrain": ("backbone.",),
    "transformers": ("convnextv2.", "convnext."),
}

_PLACEHOLDERS = {"i": "[0-9]", "j": "[0-9]{1,3}", "n": "[0-9]", "wb": "weight|bias"}


def _compile(template: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\{(\w+)\\}", lambda m: f"(?P<{m[1]}>{_PLACEHOLDERS[m[1]]})", re.escape(template)))


_RULES = {name: tuple((_compile(theirs), ours) for theirs, ours in rows.items()) for name, rows in _NAMES.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Translated:
    """A checkpoint's tensors under our names and in our shapes."""

    layout: LayoutName
    tensors: Mapping[str, Tensor]
    theirs: Mapping[str, str]
    """Our name -> the name in the file, for messages its owner can act on."""
    unknown: tuple[str, ...]
    """Names in the file that no ConvNeXt of this layout has."""


def translate(tensors: Mapping[str, Tensor], where: str) -> Translated:
    """Finds out which layout these tensors are in, and translates them.

    Args:
        tensors: Name to tensor, as the file gives them.
        where: The file's name, for errors.

    Raises:
        CheckpointError: They are no ConvNeXt's in any of the four layouts.
    """
    prefix = _shared_prefix(list(tensors))
    names = {key.removeprefix(prefix): key for key in tensors}
    readings = {layout: {key: _ours(layout, key) for key in names} for layout in _RULES}
    layout = max(readings, key=lambda name: sum(our is not None for our in readings[name].values()))
    reading = readings[layout]
    if not any(our is not None and ".blocks." in our for our in reading.values()):
        raise CheckpointError(
            f"{where} holds no ConvNeXt in the layout of timm, transformers, mmpretrain or the original repository; "
            f"its tensors are called {few(list(tensors))}"
        )
    theirs: dict[str, str] = {}
    for key, our in reading.items():
        if our is None:
            continue
        if our in theirs:
            raise CheckpointError(f"{where} holds the same tensor twice: {few([theirs[our], names[key]])}")
        theirs[our] = names[key]
    return Translated(
        layout=layout,
        tensors={our: _in_our_shape(our, tensors[key]) for our, key in theirs.items()},
        theirs=theirs,
        unknown=tuple(names[key] for key, our in reading.items() if our is None),
    )


def _shared_prefix(names: list[str]) -> str:
    """``module.``, ``model.``, ``_orig_mod.model.`` and the like: the leading parts that every name has."""
    split = [name.split(".") for name in names]
    depth = 0
    while all(len(parts) > depth + 1 and parts[depth] == split[0][depth] for parts in split):
        depth += 1
    return "".join(f"{part}." for part in split[0][:depth])


def _ours(layout: LayoutName, name: str) -> str | None:
    for body in _BODY[layout]:
        name = name.removeprefix(body)
    for pattern, ours in _RULES[layout]:
        if found := pattern.fullmatch(name):
            return ours.format(**found.groupdict())
    return None


def _in_our_shape(name: str, tensor: Tensor) -> Tensor:
    if ".mlp.fc" in name and name.endswith("weight") and tensor.ndim == 2:
        return tensor[:, :, None, None]
    if ".grn." in name and tensor.ndim == 4 and tensor.shape[:3].numel() == 1:
        return tensor.reshape(-1)
    return tensor
