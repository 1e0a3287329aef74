"""What a module tells of itself beside its tensors: transformers' ``config``, timm's ``pretrained_cfg``."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn

from edgecvx.errors import CheckpointError
from edgecvx.models import hub
from edgecvx.models.configs import SavedConfig, as_settings, timm_config, transformers_config

TAKEN = "a ConvNeXt V1 or V2 of timm, transformers, mmpretrain, the original repository or edgecvx"
"""What can be given in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """What lies beside the tensors of a module; empty for a class that keeps none."""

    saved: SavedConfig = field(default_factory=SavedConfig)
    origin: str = ""
    """The published weights it names as those it began with."""
    license: str | None = None
    """Theirs."""


def configuration_of(module: nn.Module, where: str, image_size: int | None) -> Configuration:
    """Reads the configuration of a module of transformers or timm.

    Raises:
        CheckpointError: It is of another network, or asks for something this package does not do.
    """
    config = as_settings(getattr(module, "config", None))
    if config is not None and "model_type" in config:
        return _of_transformers(module, where)
    trained = as_settings(getattr(module, "pretrained_cfg", None))
    if trained is None:
        return Configuration()
    architecture, tag = str(trained.get("architecture", "")), str(trained.get("tag", ""))
    license = trained.get("license")
    return Configuration(
        saved=timm_config(
            {"architecture": architecture, "pretrained_cfg": dict(trained)}, "pretrained_cfg", image_size
        ),
        origin=f"{architecture}.{tag}".strip("."),
        license=license.lower() if isinstance(license, str) else None,
    )


def _of_transformers(module: nn.Module, where: str) -> Configuration:
    config = as_settings(getattr(module, "config", None)) or {}
    try:
        saved = SavedConfig(**transformers_config(config, "its config"))
    except CheckpointError as error:
        raise CheckpointError(f"{where} is not {TAKEN}, as it stands: {error}") from None
    origin = str(getattr(module.config, "name_or_path", ""))
    known = hub.is_facebook_id(origin)
    return Configuration(saved=saved, origin=origin if known else "", license=hub.FACEBOOK_LICENSE if known else None)
