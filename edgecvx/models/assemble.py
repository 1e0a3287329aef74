"""A network with everything known about it, put together from what was read: the end of every way in."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from edgecvx.models.checkpoints import Checkpoint, build
from edgecvx.models.convnext import ConvNeXt
from edgecvx.models.variants import VARIANTS, Tag, default_tag, preprocess_for
from edgecvx.spec import ArchSpec, ModelSpec, PreprocessSpec, WeightsKind, WeightsSource


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A network ready to export, what it is, and what its owner should know."""

    module: ConvNeXt
    """In evaluation mode, float32."""
    spec: ModelSpec
    warnings: tuple[str, ...]
    """Sentences to show: what was assumed, replaced, left out, or is not allowed with these weights."""


def assembled(
    checkpoint: Checkpoint,
    *,
    tag: str,
    preprocess: PreprocessSpec,
    kind: WeightsKind,
    ref: str,
    license: str | None,
    labels: tuple[str, ...] | None = None,
    warnings: tuple[str, ...] = (),
) -> LoadedModel:
    """The network of a checkpoint, with what is known of it from elsewhere."""
    weights = WeightsSource(kind=kind, ref=ref, layout=checkpoint.layout, sha256=checkpoint.sha256, license=license)
    if weights.noncommercial and kind != "module":  # what a module was trained from, only its owner knows
        warnings = (*warnings, f"the licence of {ref} is {license}: no commercial use")
    spec = ModelSpec(
        arch=checkpoint.arch,
        tag=tag,
        num_classes=checkpoint.num_classes,
        preprocess=preprocess,
        weights=weights,
        labels=labels,
    )
    return LoadedModel(module=build(checkpoint), spec=spec, warnings=(*checkpoint.notes, *warnings))


def assumed_preprocess(
    arch: ArchSpec, tag: Tag | None, image_size: int | None, where: str
) -> tuple[PreprocessSpec, str]:
    """The preprocessing for weights that do not bring their own: that of the tag they are said to follow."""
    if tag is None and arch.name in VARIANTS:
        tag = default_tag(arch.name)
    if tag is None:
        spec, like = PreprocessSpec() if image_size is None else PreprocessSpec(size=image_size), "ImageNet's usual"
    else:
        spec, like = preprocess_for(tag, image_size), f"that of {tag.name}"
    doubt = (
        f"{where} does not say how its pictures were prepared; took {like}: {spec.size} px, {spec.interpolation}, "
        f"crop {spec.crop_pct:g}, mean {_numbers(spec.mean)}, std {_numbers(spec.std)}"
    )
    return spec, doubt


def _numbers(values: tuple[float, ...]) -> str:
    return "/".join(f"{v:g}" for v in values)


def digest(tensors: Mapping[str, torch.Tensor]) -> str:
    """A hash over names, shapes and values, for weights that never were a file."""
    total = hashlib.sha256()
    for name, tensor in tensors.items():
        total.update(f"{name}{tuple(tensor.shape)}".encode())
        total.update(tensor.contiguous().numpy().tobytes())
    return total.hexdigest()


def content_sha256(checkpoint: Checkpoint) -> str:
    """The hash of a checkpoint's values, whatever file, layout or order they came in."""
    return digest(dict(sorted(checkpoint.tensors.items())))


def tag_of(called: str) -> str:
    """What somebody calls their weights, as it can stand in a file's name; empty where nothing of it can."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", called).strip("_-")[:64]
