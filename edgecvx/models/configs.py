"""What transformers and timm write beside their weights, read as data.

Neither library is needed for that, and no class is looked up by a name in a file. What a file asks for and this
package does not do is refused: a picture prepared in another way than the weights were trained for costs accuracy
that nobody sees go.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgecvx.errors import CheckpointError, UsageError
from edgecvx.models.labels import are_placeholders, label_texts, labels_from_ids
from edgecvx.models.variants import three, timm_preprocess
from edgecvx.spec import Activation, Interpolation, LayoutName, PreprocessSpec

_ACTIVATIONS: Mapping[str, Activation] = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "silu": "silu",
    "swish": "silu",
}
_INTERPOLATIONS: tuple[Interpolation, ...] = ("nearest", "lanczos", "bilinear", "bicubic")
"""At the place of the number Pillow gives them."""
_MAX_BYTES = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedConfig:
    """What the tensors do not tell and a file beside them does; None where it does not, either."""

    architecture: str | None = None
    """timm's name of the network."""
    act: Activation | None = None
    head_norm_eps: float | None = None
    labels: tuple[str, ...] | None = None
    preprocess: PreprocessSpec | None = None


def read_configs(
    layout: LayoutName, config: Path | None, preprocessor: Path | None, image_size: int | None
) -> SavedConfig:
    """Reads the ``config.json`` and ``preprocessor_config.json`` that go with weights of this layout.

    Args:
        layout: How the tensors are named, which tells whose configuration this is.
        config: ``config.json``, if there is one.
        preprocessor: ``preprocessor_config.json``, if there is one; only transformers writes it.
        image_size: The size to prepare pictures for, instead of the one in the file.

    Raises:
        CheckpointError: A file cannot be read, or asks for something this package does not do.
    """
    if layout == "timm" and config is not None:
        return timm_config(_read_json(config), config.name, image_size)
    if layout != "transformers":
        return SavedConfig()
    found = transformers_config(_read_json(config), config.name) if config is not None else {}
    prepared = processor_preprocess(_read_json(preprocessor), preprocessor.name, image_size) if preprocessor else None
    return SavedConfig(**found, preprocess=prepared)


def given_preprocess(given: object, image_size: int | None) -> PreprocessSpec:
    """How pictures are prepared, from whatever says so in a program.

    Args:
        given: transformers' image processor, timm's ``resolve_model_data_config(model)`` or ``pretrained_cfg``, the
            content of a ``preprocessor_config.json``, or a ``PreprocessSpec``.
        image_size: The size to prepare pictures for, instead of the one given.

    Raises:
        UsageError: It is none of these.
        CheckpointError: It asks for something this package does not do.
    """
    if isinstance(given, PreprocessSpec):
        return given if image_size is None else replace(given, size=image_size)
    settings = as_settings(given)
    if settings is None:
        raise UsageError(
            f"preprocess={type(given).__name__} does not say how pictures are prepared: give transformers' image "
            "processor, timm's resolve_model_data_config(model), or a PreprocessSpec"
        )
    if "input_size" in settings:
        return timm_preprocess_of(settings, "preprocess", image_size)
    return processor_preprocess(settings, "preprocess", image_size)


def as_settings(given: object) -> Mapping[str, Any] | None:
    """A configuration as a table: one already, or an object that tells itself as one, as both libraries' do."""
    told = given.to_dict() if hasattr(given, "to_dict") else given
    return told if isinstance(told, Mapping) and all(isinstance(key, str) for key in told) else None


def transformers_config(config: Mapping[str, Any], where: str) -> dict[str, Any]:
    """What a ``config.json`` of transformers tells, by the fields of ``SavedConfig``."""
    kind = config.get("model_type")
    if kind not in ("convnext", "convnextv2"):
        raise CheckpointError(f"{where} describes a {kind!r} model, not a ConvNeXt of transformers")
    act = config.get("hidden_act", "gelu")
    if act not in _ACTIVATIONS:
        raise CheckpointError(f"{where} asks for the activation {act!r}; known: {', '.join(_ACTIVATIONS)}")
    eps = config.get("layer_norm_eps", 1e-12)
    if not isinstance(eps, int | float) or not 0 <= eps < 1:
        raise CheckpointError(f"{where}: layer_norm_eps must be a small positive number, got {eps!r}")
    table = config.get("id2label")
    labels = labels_from_ids(table, where) if isinstance(table, dict) and table else None
    return {
        "act": _ACTIVATIONS[act],
        "head_norm_eps": float(eps),
        "labels": None if labels is None or are_placeholders(labels) else labels,
    }


def processor_preprocess(config: Mapping[str, Any], where: str, image_size: int | None) -> PreprocessSpec:
    """What transformers' ``ConvNextImageProcessor`` does with these settings.

    Below 384 pixels it resizes the shorter side to ``size / crop_pct`` and crops the centre; from 384 on it squashes
    the whole picture to the size and crops nothing.
    """
    kind = str(config.get("image_processor_type", config.get("feature_extractor_type", "ConvNext")))
    if not kind.startswith("ConvNext"):
        raise CheckpointError(f"{where} is for a {kind}; only transformers' ConvNextImageProcessor is known here")
    rescale = config.get("rescale_factor", 1 / 255)
    if not isinstance(rescale, int | float) or abs(rescale * 255 - 1) > 1e-6:
        raise CheckpointError(f"{where}: rescale_factor must be 1/255, got {rescale!r}")
    if not (config.get("do_resize", True) and config.get("do_rescale", True)):
        raise CheckpointError(f"{where} switches resizing or rescaling off, which a file for a device needs")
    side = config.get("size", 384)
    side = image_size or (side.get("shortest_edge") if isinstance(side, dict) else side)
    if not isinstance(side, int):
        raise CheckpointError(f"{where}: size must be a number or {{'shortest_edge': number}}, got {config['size']!r}")
    squashed, normalize = side >= 384, config.get("do_normalize", True)
    try:
        return PreprocessSpec(
            size=side,
            crop_pct=1.0 if squashed else (config.get("crop_pct") or 224 / 256),
            resize="squash" if squashed else "shortest",
            interpolation=_INTERPOLATIONS[config.get("resample", 3)],
            mean=three(config.get("image_mean") or (0.5, 0.5, 0.5)) if normalize else (0.0, 0.0, 0.0),
            std=three(config.get("image_std") or (0.5, 0.5, 0.5)) if normalize else (1.0, 1.0, 1.0),
        )
    except (IndexError, TypeError, ValueError):
        raise CheckpointError(f"{where}: resample, crop_pct, image_mean or image_std make no sense") from None


def timm_config(config: Mapping[str, Any], where: str, image_size: int | None) -> SavedConfig:
    """The ``config.json`` that timm saves; another program's file of that name is not ours to judge."""
    trained = config.get("pretrained_cfg")
    if not isinstance(trained, dict) or not isinstance(config.get("architecture"), str):
        return SavedConfig()
    names = config.get("label_names") or trained.get("label_names")
    return SavedConfig(
        architecture=config["architecture"],
        labels=label_texts(names, where) if isinstance(names, list) and names else None,
        preprocess=timm_preprocess_of(trained, where, image_size),
    )


def timm_preprocess_of(trained: Mapping[str, Any], where: str, image_size: int | None) -> PreprocessSpec:
    """The preprocessing that timm's ``pretrained_cfg`` describes, or its ``resolve_model_data_config``."""
    mode, interpolation = trained.get("crop_mode") or "center", trained.get("interpolation", "bicubic")
    if mode not in ("center", "squash"):
        raise CheckpointError(f"{where}: crop_mode {mode!r} is not supported; known: center, squash")
    if interpolation not in _INTERPOLATIONS:
        raise CheckpointError(f"{where}: interpolation {interpolation!r}; known: {', '.join(_INTERPOLATIONS)}")
    try:
        return timm_preprocess(trained, image_size)
    except (KeyError, IndexError, TypeError, ValueError):
        raise CheckpointError(f"{where}: input_size, crop_pct, mean or std make no sense") from None


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise CheckpointError(f"{path.name} is too large to be a configuration")
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"cannot read {path.name}: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise CheckpointError(f"{path.name} is not valid JSON") from None
    if not isinstance(data, dict):
        raise CheckpointError(f"{path.name} must hold a JSON object")
    return data
