"""The one way in: from what a user calls a model to the network with its weights, and everything known about it."""

from __future__ import annotations

import importlib.util
import json
import re
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Literal

from edgecvx.errors import CheckpointError, UsageError, one_of
from edgecvx.models import hub
from edgecvx.models.assemble import LoadedModel as LoadedModel
from edgecvx.models.assemble import assembled, assumed_preprocess, digest, tag_of
from edgecvx.models.checkpoints import read_checkpoint
from edgecvx.models.configs import given_preprocess, read_configs
from edgecvx.models.convnext import ConvNeXt, initialize
from edgecvx.models.labels import Labels, labels_for
from edgecvx.models.layouts import translate
from edgecvx.models.variants import SHORT_NAMES, VARIANTS, ModelName, preprocess_for, resolve_name
from edgecvx.models.weightfile import SAVED_NAMES, SUFFIXES, WeightFile, read_weight_file
from edgecvx.spec import ModelSpec, PreprocessSpec, WeightsSource, check_image_size, from_json

WEIGHTS = ("auto", "imagenet", "demo", "random")
"""What ``--weights`` takes besides a file."""

_RANDOM_CLASSES = 1000
_BRING_DEMO = "pip install 'edgecvx[demo]'"


def load_model(
    model: str | Path,
    *,
    weights: str = "auto",
    image_size: int | None = None,
    labels: Labels | None = None,
    preprocess: object | None = None,
    seed: int = 0,
) -> LoadedModel:
    """Loads a network by name, from a checkpoint file, or from a transformers folder or hub id.

    A known name wins over a file or folder of the same name; ``./femto`` means the file.

    Args:
        model: ``femto``, ``convnextv2_femto.fcmae_ft_in1k``, ``facebook/convnextv2-atto-1k-224``, a weights file, or a
            folder that transformers saved. A ``Path`` is never taken for a name.
        weights: ``imagenet`` (timm's, from the hub or its cache), ``demo`` (ship with this package), ``random``, or a
            file. ``auto`` takes ``imagenet``; if the hub cannot be reached, nothing is cached and no particular
            weights were named by a tag, it takes ``demo`` and says so in ``warnings``.
        image_size: Side of the input, a multiple of 32; None for the size the weights were trained at.
        labels: The class names, or a file with them, in place of those the checkpoint brings.
        preprocess: How pictures are prepared (``edgecvx.models.configs.given_preprocess``), for files that do not say.
        seed: For ``random``.

    Raises:
        UsageError: An unknown name, or options that exclude each other.
        CheckpointError: The weights are missing, damaged, unsafe, or of another network.
    """
    if image_size is not None:
        check_image_size(image_size)
    if isinstance(model, Path) or _is_path(model):
        if weights != "auto":
            raise UsageError(f"{Path(model).name} already holds the weights: leave --weights {weights} out")
        loaded = _from_path(Path(model), image_size, preprocess=preprocess)
    elif hub.is_facebook_id(model):
        loaded = _from_facebook(model, weights, image_size)
    else:
        loaded = _from_name(resolve_name(model), weights, image_size, seed)
    if preprocess is not None and not loaded.spec.weights.brought:
        raise UsageError(f"{model} brings its preprocessing with it: leave preprocess= out")
    if labels is None:
        return loaded
    return replace(loaded, spec=replace(loaded.spec, labels=labels_for(labels, loaded.spec.num_classes)))


def demo_variants() -> tuple[str, ...]:
    """The variants whose demo weights are installed."""
    return tuple(name for name in VARIANTS if demo_file(name).is_file())


def _is_path(model: str) -> bool:
    if Path(model).suffix.lower() in SUFFIXES:
        return True
    bare = model.removeprefix("timm/").partition(".")[0]
    if bare in SHORT_NAMES or bare in VARIANTS or model.startswith("timm/") or hub.is_facebook_id(model):
        return False
    return "/" in model or (model != "" and _exists(Path(model)))


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name too long for the file system, or a folder closed to us: nothing to read either way
        return False


def _from_name(name: ModelName, weights: str, image_size: int | None, seed: int) -> LoadedModel:
    if name.explicit and weights in ("demo", "random"):
        raise UsageError(
            f"{name.tag.name} names its weights by the tag; for --weights {weights} write {name.arch.name} alone"
        )
    if weights == "random":
        return _random(name, image_size, seed)
    if weights == "demo":
        return _demo(name, image_size)
    if weights == "imagenet":
        return _from_timm(name, image_size)
    if weights == "auto":
        return _auto(name, image_size)
    if Path(weights).suffix.lower() in SUFFIXES or (weights != "" and _exists(Path(weights))):
        return _from_path(Path(weights), image_size, name=name)
    raise one_of("weights", weights, [*WEIGHTS, *(f"a file ending in {suffix}" for suffix in SUFFIXES)])


def _auto(name: ModelName, image_size: int | None) -> LoadedModel:
    """ImageNet weights, or else the demo weights with a warning; never in place of weights named by a tag."""
    try:
        return _from_timm(name, image_size)
    except hub.HubUnavailableError as error:
        demos = demo_variants()
        if name.explicit or name.arch.name not in demos:
            instead = "demo or --weights random" if name.arch.name in demos else "random"
            instead += "" if demos else f" ({_BRING_DEMO} brings demo weights of atto and femto)"
            raise hub.HubUnavailableError(
                f"{error}; go online once, name a file with --weights FILE, or try {name.arch.name} --weights {instead}"
            ) from None
        loaded = _demo(name, image_size)
        warning = (
            f"NOT THE IMAGENET WEIGHTS: {error}. Took the demo weights of {name.arch.name}, trained on drawn pictures "
            f"of {loaded.spec.num_classes} classes; fit for trying things out, not for photographs"
        )
        return replace(loaded, warnings=(warning, *loaded.warnings))


def _from_timm(name: ModelName, image_size: int | None) -> LoadedModel:
    return assembled(
        read_checkpoint(_from_hub(name.tag.hub_id), variant=name.arch),
        tag=name.tag.tag,
        preprocess=preprocess_for(name.tag, image_size),
        kind="imagenet",
        ref=name.tag.hub_id,
        license=name.tag.license,
    )


def _from_facebook(repo: str, weights: str, image_size: int | None) -> LoadedModel:
    if weights not in ("auto", "imagenet"):
        raise UsageError(f"{repo} names its weights: leave --weights {weights} out")
    file = _from_hub(repo)
    _size, _, trained = repo.removeprefix("facebook/convnextv2-").partition("-")
    return _with_configs(
        file,
        hub.fetch_beside(repo, "config.json"),
        hub.fetch_beside(repo, "preprocessor_config.json"),
        image_size,
        tag=f"facebook_{trained.replace('-', '_')}",
        kind="imagenet",
        ref=repo,
        license=hub.FACEBOOK_LICENSE,
    )


def _from_hub(repo: str) -> WeightFile:
    path = hub.fetch(repo)
    file, called = read_weight_file(path), path.resolve().name
    if re.fullmatch(r"[0-9a-f]{64}", called) and called != file.sha256:  # the cache names large files by their SHA-256
        raise CheckpointError(f"{repo} is damaged in the hub's cache (its SHA-256 is wrong): delete it there and retry")
    return file


def _from_path(
    path: Path, image_size: int | None, *, name: ModelName | None = None, preprocess: object | None = None
) -> LoadedModel:
    """A user's own weights. ``name`` is the network they are said to be for, where that was said."""
    if not _exists(path):
        raise CheckpointError(f"there is no file or folder {path}, and no known model of that name")
    folder = path if path.is_dir() else path.parent
    called = path.resolve().name if path.is_dir() else path.stem
    return _with_configs(
        read_weight_file(_weights_in(path) if path.is_dir() else path),
        _if_there(folder / "config.json"),
        _if_there(folder / "preprocessor_config.json"),
        image_size,
        name=name,
        prepared=None if preprocess is None else given_preprocess(preprocess, image_size),
        tag=tag_of(called) or "weights",
        kind="file",
        ref=path.resolve().name.encode(errors="replace").decode(),  # a name of any bytes; manifests are UTF-8
        license=None,
    )


def _weights_in(folder: Path) -> Path:
    for name in SAVED_NAMES:
        if (folder / name).is_file():
            return folder / name
    raise CheckpointError(f"the folder {folder.resolve().name} holds neither {' nor '.join(SAVED_NAMES)}")


def _if_there(path: Path) -> Path | None:
    return path if path.is_file() else None


def _with_configs(
    file: WeightFile,
    config_path: Path | None,
    preprocessor_path: Path | None,
    image_size: int | None,
    *,
    tag: str,
    kind: Literal["imagenet", "file"],
    ref: str,
    license: str | None,
    name: ModelName | None = None,
    prepared: PreprocessSpec | None = None,
) -> LoadedModel:
    """A network from its weights and what lies beside them; what neither tells is assumed, and said."""
    layout = translate(file.tensors, file.name).layout
    saved = read_configs(layout, config_path, preprocessor_path, image_size)
    variant = name.arch if name else VARIANTS.get(saved.architecture or "")
    checkpoint = read_checkpoint(file, variant=variant, act=saved.act, head_norm_eps=saved.head_norm_eps)
    doubts = []
    if layout == "transformers" and saved.act is None:
        doubts.append(f"{file.name} is in transformers' layout without its config.json: took GELU and epsilon 1e-12")
    if saved.labels is not None and len(saved.labels) != checkpoint.num_classes:
        raise CheckpointError(
            f"config.json names {len(saved.labels)} classes, {file.name} has {checkpoint.num_classes}"
        )
    preprocess = prepared or saved.preprocess
    if preprocess is None:
        preprocess, doubt = assumed_preprocess(checkpoint.arch, name.tag if name else None, image_size, file.name)
        doubts.append(doubt)
    return assembled(
        checkpoint,
        tag=tag,
        preprocess=preprocess,
        kind=kind,
        ref=ref,
        license=license,
        labels=saved.labels,
        warnings=tuple(doubts),
    )


def demo_file(variant: str) -> Path:
    """Where a variant's demo weights are, if it has any: in their own package, which a checkout has beside this one."""
    installed = importlib.util.find_spec("edgecvx_demo_weights")
    if installed is not None and installed.origin is not None:
        folder = Path(installed.origin).parent
    else:
        folder = Path(str(resources.files("edgecvx"))).parent / "demo_weights" / "edgecvx_demo_weights"
    return folder / f"{variant}.demo.safetensors"


def _demo(name: ModelName, image_size: int | None) -> LoadedModel:
    known = ", ".join(demo_variants())
    if not known:
        raise CheckpointError(
            f"the demo weights are not installed: {_BRING_DEMO} brings them, and --weights random needs none"
        )
    if name.arch.name not in known.split(", "):
        raise CheckpointError(f"no demo weights for {name.arch.name} (there are: {known}): try --weights random")
    file = read_weight_file(demo_file(name.arch.name))
    facts = file.metadata  # written with the weights, by tools/train_demo.py
    preprocess = from_json(PreprocessSpec, json.loads(facts["preprocess"]), where=file.name)
    return assembled(
        read_checkpoint(file, variant=name.arch),
        tag="demo",
        preprocess=preprocess if image_size is None else replace(preprocess, size=image_size),
        kind="demo",
        ref=file.name,
        license=facts["license"].lower(),
        labels=tuple(json.loads(facts["classes"])),
    )


def _random(name: ModelName, image_size: int | None, seed: int) -> LoadedModel:
    module = initialize(ConvNeXt(name.arch, _RANDOM_CLASSES), seed)
    source = WeightsSource(kind="random", ref=f"seed {seed}", layout="timm", sha256=digest(module.state_dict()))
    spec = ModelSpec(
        arch=name.arch,
        tag="random",
        num_classes=_RANDOM_CLASSES,
        preprocess=preprocess_for(name.tag, image_size),
        weights=source,
    )
    return LoadedModel(module=module, spec=spec, warnings=())
