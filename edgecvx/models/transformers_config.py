"""What transformers writes beside its weights: ``config.json`` and ``preprocessor_config.json``, read as data.

transformers itself is not needed for that, and no class is looked up by a name in a file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edgecvx.errors import CheckpointError
from edgecvx.models.labels import are_placeholders, labels_from_ids
from edgecvx.spec import Activation, PreprocessSpec

_ACTIVATIONS: Mapping[str, Activation] = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "silu": "silu",
    "swish": "silu",
}
_RESAMPLING: Mapping[int, Literal["bicubic", "bilinear", "lanczos", "nearest"]] = {
    0: "nearest",
    1: "lanczos",
    2: "bilinear",
    3: "bicubic",
}  # Pillow's numbers
_MAX_BYTES = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformersConfig:
    """The part of ``config.json`` that the tensors do not tell."""

    act: Activation
    head_norm_eps: float
    labels: tuple[str, ...] | None
    """None where nobody named the classes."""


def read_config(path: Path) -> TransformersConfig:
    """Reads the ``config.json`` of a ConvNeXt.

    Raises:
        CheckpointError: It cannot be read, or describes another kind of network.
    """
    config = _read_json(path)
    kind = config.get("model_type")
    if kind not in ("convnext", "convnextv2"):
        raise CheckpointError(f"{path.name} describes a {kind!r} model, not a ConvNeXt of transformers")
    name = config.get("hidden_act", "gelu")
    if name not in _ACTIVATIONS:
        raise CheckpointError(f"{path.name} asks for the activation {name!r}; known: {', '.join(_ACTIVATIONS)}")
    eps = config.get("layer_norm_eps", 1e-12)
    if not isinstance(eps, int | float) or not 0 <= eps < 1:
        raise CheckpointError(f"{path.name}: layer_norm_eps must be a small positive number, got {eps!r}")
    table = config.get("id2label")
    labels = labels_from_ids(table, path.name) if isinstance(table, dict) and table else None
    return TransformersConfig(
        act=_ACTIVATIONS[name],
        head_norm_eps=float(eps),
        labels=None if labels is None or are_placeholders(labels) else labels,
    )


def read_preprocessor(path: Path, image_size: int | None) -> PreprocessSpec:
    """Reads the ``preprocessor_config.json`` of transformers' ``ConvNextImageProcessor``.

    That one resizes the shorter side to ``size / crop_pct`` and crops the centre below 384 pixels; from 384 on it
    squashes the whole picture to the size and crops nothing.

    Args:
        path: The file.
        image_size: The size to use instead of the file's own.

    Raises:
        CheckpointError: It cannot be read, or asks for something else than such a processor does.
    """
    config = _read_json(path)
    kind = str(config.get("image_processor_type", config.get("feature_extractor_type", "ConvNext")))
    if not kind.startswith("ConvNext"):
        raise CheckpointError(f"{path.name} is for a {kind}; only transformers' ConvNextImageProcessor is known here")
    if not (config.get("do_resize", True) and config.get("do_rescale", True)):
        raise CheckpointError(f"{path.name} switches resizing or rescaling off; a file for a device needs both")
    rescale = config.get("rescale_factor", 1 / 255)
    if not isinstance(rescale, int | float) or abs(rescale * 255 - 1) > 1e-6:
        raise CheckpointError(f"{path.name}: rescale_factor must be 1/255, got {rescale!r}")
    size = image_size or _edge(config.get("size", 384), path.name)
    normalize = config.get("do_normalize", True)
    half = [0.5, 0.5, 0.5]  # the processor's own defaults
    try:
        return PreprocessSpec(
            size=size,
            crop_pct=(config.get("crop_pct") or 224 / 256) if size < 384 else 1.0,
            resize="shortest" if size < 384 else "squash",
            interpolation=_RESAMPLING[config.get("resample", 3)],
            mean=_three(config.get("image_mean") or half) if normalize else (0.0, 0.0, 0.0),
            std=_three(config.get("image_std") or half) if normalize else (1.0, 1.0, 1.0),
        )
    except (KeyError, TypeError, ValueError):
        raise CheckpointError(f"{path.name}: resample, crop_pct, image_mean or image_std make no sense") from None


def _edge(size: Any, where: str) -> int:
    """``{"shortest_edge": 224}``, or the plain number of older versions."""
    edge = size.get("shortest_edge") if isinstance(size, dict) else size
    if not isinstance(edge, int) or isinstance(edge, bool):
        raise CheckpointError(f"{where}: size must be a number or {{'shortest_edge': number}}, got {size!r}")
    return edge


def _three(values: Any) -> tuple[float, float, float]:
    red, green, blue = values
    return float(red), float(green), float(blue)


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
