"""A module somebody holds, read as its checkpoint would be: tensors by name, and what its configuration tells.

The network that is exported is ours, built from the module's tensors by the code that reads checkpoint files. That it
is the same network is not believed but seen: both are asked the probe pictures (``edgecvx.inmemory.forward``).
"""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import nn

from edgecvx.errors import CheckpointError, UsageError
from edgecvx.inmemory.configuration import TAKEN, Configuration, configuration_of
from edgecvx.inmemory.forward import check_forward
from edgecvx.models.assemble import LoadedModel, assembled, assumed_preprocess, content_sha256, tag_of
from edgecvx.models.checkpoints import Checkpoint, read_checkpoint
from edgecvx.models.configs import SavedConfig, given_preprocess
from edgecvx.models.convnext import ConvNeXt
from edgecvx.models.labels import Labels, labels_for
from edgecvx.models.layouts import translate
from edgecvx.models.variants import VARIANTS
from edgecvx.models.weightfile import WeightFile, check_tensors, few
from edgecvx.spec import PreprocessSpec, check_image_size

_WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel)


def load_module(
    module: nn.Module,
    *,
    image_size: int | None = None,
    labels: Labels | None = None,
    preprocess: object | None = None,
    name: str | None = None,
) -> LoadedModel:
    """Takes a module as it stands, which is left as it was.

    Args:
        module: On any device, in any floating type, training or not.
        image_size: Side of the input; that of its preprocessing by default.
        labels: The class names, in place of those of its configuration.
        preprocess: How pictures are prepared (``given_preprocess``), in place of what its configuration says.
        name: The second half of the files' names.

    Raises:
        CheckpointError: It is no ConvNeXt, or computes something else than one with its weights does.
        UsageError: What was given with it does not fit.
    """
    if image_size is not None:
        check_image_size(image_size)
    tag = tag_of("module" if name is None else name)
    if not tag:
        raise UsageError(f"name={name!r} cannot stand in a file's name: take letters, digits, '-' and '_'")
    where, standing = called(module), _standing(module)
    config = configuration_of(standing, where, image_size)
    checkpoint = _checkpoint(standing, config.saved, where)
    names, doubts = _labels(labels, config.saved, checkpoint.num_classes, where)
    prepared, doubt = _preprocess(preprocess, config.saved, checkpoint, image_size, where)
    loaded = assembled(
        checkpoint,
        tag=tag,
        preprocess=prepared,
        kind="module",
        ref=where,
        license=config.license,
        labels=names,
        warnings=(*doubts, *doubt, *_licence(config)),
    )
    check_forward(standing, loaded, where)
    return loaded


def called(module: nn.Module) -> str:
    """``transformers.ConvNextV2ForImageClassification``: whose class it is, and what it is called there."""
    kind = type(_unwrapped(module))
    return f"{kind.__module__.partition('.')[0]}.{kind.__name__}"


def _unwrapped(module: nn.Module) -> nn.Module:
    """The module inside what only runs it differently: ``torch.compile``, ``DataParallel``."""
    while True:
        inner = module.module if isinstance(module, _WRAPPERS) else getattr(module, "_orig_mod", None)
        if not isinstance(inner, nn.Module):
            return module
        module = inner


def _standing(module: nn.Module) -> nn.Module:
    """A copy in float32 on the CPU that does not train: what is exported, and what it is compared with."""
    where, module = called(module), _unwrapped(module)
    if any(t.is_meta for t in (*module.parameters(), *module.buffers())):
        raise CheckpointError(f"{where} has tensors without values (on the meta device): load its weights first")
    try:
        return copy.deepcopy(module).to("cpu", torch.float32).eval()
    except (RuntimeError, TypeError, NotImplementedError) as error:
        raise CheckpointError(
            f"{where} cannot be copied ({_line(error)}): save its weights and give the file"
        ) from None


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _checkpoint(module: nn.Module, saved: SavedConfig, where: str) -> Checkpoint:
    """Its tensors as a checkpoint, under the hash of their values."""
    tensors = {name: tensor.detach() for name, tensor in module.state_dict().items()}
    check_tensors(tensors, where)
    try:
        translate(tensors, where)
    except CheckpointError:
        raise CheckpointError(f"{where} is not {TAKEN}: its tensors are called {few(list(tensors))}") from None
    file = WeightFile(name=where, tensors=tensors, metadata={}, sha256="", notes=())
    if isinstance(module, ConvNeXt):  # ours says what the tensors do not tell
        found = replace(read_checkpoint(file, variant=module.arch), arch=module.arch)
    else:
        variant = VARIANTS.get(saved.architecture or "")
        found = read_checkpoint(file, variant=variant, act=saved.act, head_norm_eps=saved.head_norm_eps)
    return replace(found, sha256=content_sha256(found))


def _labels(
    given: Labels | None, saved: SavedConfig, num_classes: int, where: str
) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """The class names; a configuration keeps the old ones where somebody put another classifier in."""
    if given is not None:
        return labels_for(given, num_classes), ()
    if saved.labels is None or len(saved.labels) == num_classes:
        return saved.labels, ()
    if not num_classes:
        return None, ()
    return None, (
        f"the configuration of {where} names {len(saved.labels)} classes and its classifier has {num_classes}: answers "
        "are numbered, labels= names them",
    )


def _preprocess(
    given: object | None, saved: SavedConfig, checkpoint: Checkpoint, image_size: int | None, where: str
) -> tuple[PreprocessSpec, tuple[str, ...]]:
    """How its pictures are prepared, and what had to be assumed."""
    if given is not None:
        return given_preprocess(given, image_size), ()
    if saved.preprocess is not None:
        return saved.preprocess, ()
    spec, doubt = assumed_preprocess(checkpoint.arch, None, image_size, where)
    return spec, (f"{doubt}; preprocess= takes its image processor",)


def _licence(config: Configuration) -> tuple[str, ...]:
    """Whose weights it may have been trained from: a module keeps no record of that."""
    if config.license is None or "-nc" not in config.license:
        return ()
    return (
        f"{config.origin}, which its configuration names, is {config.license}: no commercial use of these weights if "
        "they are or were trained from it",
    )
