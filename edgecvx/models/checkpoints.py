"""From a weights file to a network: which ConvNeXt its tensors are, and whether they are all there.

The architecture is read from the tensors: depths, widths, kernel sizes, the kind of stem, GRN or layer scale, the
number of classes. Three things leave no trace in them, the activation and the two epsilons: those come from the known
network of the same shape, from transformers' ``config.json``, or are GELU and 1e-6, as in every ConvNeXt but timm's
test networks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from edgecvx.errors import CheckpointError
from edgecvx.models.convnext import ConvNeXt
from edgecvx.models.layouts import Translated, translate
from edgecvx.models.variants import VARIANTS
from edgecvx.models.weightfile import WeightFile, few
from edgecvx.spec import Activation, ArchSpec, LayoutName, Stem

_MAX_DEPTH = 100
"""Blocks in one stage; the deepest published ConvNeXt has 30. Keeps an absurd index from costing memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A checkpoint that fits its architecture, tensor by tensor."""

    arch: ArchSpec
    num_classes: int
    """0 for a checkpoint without a classifier."""
    layout: LayoutName
    tensors: Mapping[str, Tensor]
    """Under our names, in float32."""
    sha256: str
    """Of the file."""
    notes: tuple[str, ...]


def read_checkpoint(
    file: WeightFile,
    *,
    variant: ArchSpec | None = None,
    act: Activation | None = None,
    head_norm_eps: float | None = None,
) -> Checkpoint:
    """Recognizes the network in a weights file and checks every tensor of it.

    Args:
        file: What was read.
        variant: The architecture it is said to be; the tensors must agree. None takes it from the tensors.
        act: The activation, where something beside the file tells (transformers' ``config.json``).
        head_norm_eps: Likewise, the last LayerNorm's epsilon.

    Raises:
        CheckpointError: It is another network, or tensors are missing, unexpected, misshapen or not finite.
    """
    found = translate(file.tensors, file.name)
    arch = _known(_arch_of(found, file.name), found.layout, variant)
    if variant is not None and arch.name != variant.name:
        raise CheckpointError(f"{file.name} holds {_described(arch)}, not {_described(variant)}")
    if found.layout == "transformers":
        # Its classes normalize the head with an epsilon of their own; see ConvNextV2Config.layer_norm_eps.
        arch = replace(arch, act=act or arch.act, head_norm_eps=1e-12 if head_norm_eps is None else head_norm_eps)
    classifier = found.tensors.get("head.fc.weight")
    num_classes = classifier.shape[0] if classifier is not None and classifier.ndim else 0
    tensors, notes = dict(found.tensors), list(file.notes)
    if num_classes == 0 and not any(name.startswith("head.norm.") for name in tensors):
        # Masked-autoencoder checkpoints end before it. A fresh LayerNorm is what timm puts there, too.
        width = arch.dims[-1]
        tensors |= {"head.norm.weight": torch.ones(width), "head.norm.bias": torch.zeros(width)}
        notes.append(f"{file.name} ends before the last LayerNorm: taken as one without scale and bias")
    if not arch.grn and not any(name.endswith(".gamma") for name in tensors):
        # A V1 trained without layer scale: a scale of one is the same network.
        scales = ((i, j) for i, depth in enumerate(arch.depths) for j in range(depth))
        tensors |= {f"stages.{i}.blocks.{j}.gamma": torch.ones(arch.dims[i]) for i, j in scales}
    _check_fit(arch, num_classes, tensors, found, file.name)
    return Checkpoint(
        arch=arch,
        num_classes=num_classes,
        layout=found.layout,
        tensors=_to_float32(tensors, found.theirs, file.name),
        sha256=file.sha256,
        notes=tuple(notes),
    )


def build(checkpoint: Checkpoint) -> ConvNeXt:
    """The network with its weights, in float32, ready for inference."""
    model = ConvNeXt(checkpoint.arch, checkpoint.num_classes)
    model.load_state_dict(dict(checkpoint.tensors))
    return model.eval()


def _arch_of(found: Translated, where: str) -> ArchSpec:
    """Depths, widths, kernels, stem and kind, as the tensors have them."""
    depths, dims, kernels = [], [], []
    for stage in range(4):
        blocks = _blocks(found.tensors, stage)
        if not blocks:
            raise CheckpointError(f"{where}: stage {stage} has no blocks; a ConvNeXt has four stages")
        kernel = next((t for name, t in blocks if name.endswith("conv_dw.weight") and t.ndim == 4), None)
        if kernel is None:
            raise CheckpointError(f"{where}: stage {stage} lacks its depthwise convolutions")
        depths.append(1 + max(int(name.split(".")[3]) for name, _ in blocks))
        dims.append(kernel.shape[0])
        kernels.append(kernel.shape[-1])
    if max(depths) > _MAX_DEPTH:
        raise CheckpointError(f"{where} numbers its blocks up to {max(depths)}; no ConvNeXt is that deep")
    if any(k % 2 == 0 for k in kernels):
        raise CheckpointError(f"{where}: depthwise kernels of a ConvNeXt are odd, here they are {tuple(kernels)}")
    stem, mid = _stem_of(found.tensors, dims[0], where)
    if 0 in (*dims, *kernels, mid):
        raise CheckpointError(f"{where} holds tensors without elements")
    grn = any(".mlp.grn." in name for name in found.tensors)
    return ArchSpec(
        name="convnextv2_custom" if grn else "convnext_custom",
        depths=tuple(depths),
        dims=tuple(dims),
        kernel_sizes=tuple(kernels),
        stem=stem,
        stem_mid=mid,
        grn=grn,
    )


def _blocks(tensors: Mapping[str, Tensor], stage: int) -> list[tuple[str, Tensor]]:
    return [(name, t) for name, t in tensors.items() if name.startswith(f"stages.{stage}.blocks.")]


def _stem_of(tensors: Mapping[str, Tensor], width: int, where: str) -> tuple[Stem, int | None]:
    first, second = tensors.get("stem.0.weight"), tensors.get("stem.1.weight")
    if first is None or first.ndim != 4:
        raise CheckpointError(f"{where} lacks the stem's first convolution")
    if first.shape[1] != 3:
        raise CheckpointError(f"{where} takes pictures of {first.shape[1]} channels; only RGB is supported")
    if second is not None and second.ndim == 4:
        return ("overlap" if first.shape[0] == width else "overlap_tiered"), first.shape[0]
    return "patch", None


def _known(read: ArchSpec, layout: LayoutName, variant: ArchSpec | None) -> ArchSpec:
    """The known architecture of this shape, if there is one, else ``read`` itself.

    timm's test networks have another activation and epsilon, which no other layout's code can express: a file in
    another layout with such a shape is something else.
    """
    for arch in (variant, *VARIANTS.values()) if variant else VARIANTS.values():
        unusual = arch.act != "gelu" or arch.norm_eps != 1e-6
        if _shape(arch) == _shape(read) and not (unusual and layout != "timm"):
            return arch
    return read


def _shape(arch: ArchSpec) -> tuple[object, ...]:
    """What of an architecture can be seen in its tensors."""
    return arch.depths, arch.dims, arch.kernel_sizes, arch.stem_mid, arch.grn


def _described(arch: ArchSpec) -> str:
    if arch.name in VARIANTS:
        return arch.name
    return f"{arch.name} (depths {'-'.join(map(str, arch.depths))}, widths {'-'.join(map(str, arch.dims))})"


def _check_fit(arch: ArchSpec, num_classes: int, tensors: Mapping[str, Tensor], found: Translated, where: str) -> None:
    """Every tensor of the network is there in its shape, and nothing else is."""
    with torch.device("meta"):  # shapes alone: no memory is spent on a network nobody has checked yet
        expected = {name: tuple(t.shape) for name, t in ConvNeXt(arch, num_classes).state_dict().items()}
    missing = [name for name in expected if name not in tensors]
    unexpected = [*found.unknown, *(found.theirs[name] for name in tensors if name not in expected)]
    misshapen = [
        f"{found.theirs.get(name, name)} is {list(tensors[name].shape)} and should be {list(shape)}"
        for name, shape in expected.items()
        if name in tensors and tuple(tensors[name].shape) != shape
    ]
    kinds = {"missing": missing, "unexpected": unexpected, "misshapen": misshapen}
    faults = [f"{len(names)} {kind}: {few(names)}" for kind, names in kinds.items() if names]
    if faults:
        raise CheckpointError(f"{where} does not fit {_described(arch)}: {'; '.join(faults)}")


def _to_float32(tensors: Mapping[str, Tensor], theirs: Mapping[str, str], where: str) -> dict[str, Tensor]:
    if other := [theirs.get(name, name) for name, t in tensors.items() if not t.is_floating_point()]:
        raise CheckpointError(f"{where}: weights must be floating point, which {few(other)} are not")
    converted = {name: t.to(torch.float32, memory_format=torch.contiguous_format) for name, t in tensors.items()}
    if broken := [theirs.get(name, name) for name, t in converted.items() if not bool(torch.isfinite(t).all())]:
        raise CheckpointError(f"{where} holds NaN or infinity in {len(broken)} tensors: {few(broken)}")
    return converted
