"""The networks this package knows by name, and the published weights for each: data, and no framework.

A *variant* is an architecture (``convnextv2_femto``); a *tag* is a set of weights for it (``fcmae_ft_in1k``), with the
licence and the preprocessing they were trained under. The tags are timm's, in ``assets/timm_tags.json``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources
from types import MappingProxyType
from typing import Any

from edgecvx.errors import one_of
from edgecvx.spec import ArchSpec, PreprocessSpec

_SMALL = (2, 2, 6, 2)
_NANO = (2, 2, 8, 2)
_SIZES = {"atto": (_SMALL, 40), "femto": (_SMALL, 48), "pico": (_SMALL, 64), "nano": (_NANO, 80)}


def _v2(size: str) -> ArchSpec:
    depths, width = _SIZES[size]
    return ArchSpec(name=f"convnextv2_{size}", depths=depths, dims=(width, 2 * width, 4 * width, 8 * width))


def _v1(size: str) -> ArchSpec:
    return replace(_v2(size), name=f"convnext_{size}", grn=False)


def _v1_tiered(size: str, mid: int) -> ArchSpec:
    """The overlapping stem whose first convolution is narrower than the second."""
    return replace(_v1(size), name=f"convnext_{size}_ols", stem="overlap_tiered", stem_mid=mid)


def _test(name: str, depths: tuple[int, ...], dims: tuple[int, ...], **different: Any) -> ArchSpec:
    """A test network of timm: tiny, and deliberately off the beaten track in activation, epsilon and kernel size."""
    base = ArchSpec(name=name, depths=depths, dims=dims, grn=False, act="gelu_tanh", norm_eps=1e-5, head_norm_eps=1e-5)
    return replace(base, **different)


_ARCHS = (
    *map(_v2, _SIZES),
    _v1("atto"),
    _v1_tiered("atto", 24),  # half the width, rounded to a multiple of 8, as timm does
    _v1("femto"),
    _v1_tiered("femto", 24),
    _v1("pico"),
    _v1_tiered("pico", 32),
    _v1("nano"),
    replace(_v1("nano"), name="convnext_nano_ols", stem="overlap", stem_mid=80),
    _test("test_convnext", (1, 2, 4, 2), (24, 32, 48, 64)),
    _test("test_convnext2", (1, 1, 1, 1), (32, 64, 96, 128)),
    _test("test_convnext3", (1, 1, 1, 1), (32, 64, 96, 128), kernel_sizes=(7, 5, 5, 3), act="silu"),
)

VARIANTS: Mapping[str, ArchSpec] = MappingProxyType({arch.name: arch for arch in _ARCHS})
"""Every architecture with a name."""

SHORT_NAMES: Mapping[str, str] = MappingProxyType({size: f"convnextv2_{size}" for size in _SIZES})
"""``femto`` means the V2; the V1 networks are always spelled out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """One set of published weights, and the preprocessing it was trained and tested with."""

    variant: str
    tag: str
    hub_id: str
    license: str
    num_classes: int
    """0 where only a backbone was published."""
    preprocess: PreprocessSpec
    """At the training size."""
    test_size: int | None
    """The larger size at which these weights score best, where there is one."""
    test_crop_pct: float | None

    @property
    def name(self) -> str:
        """``convnextv2_femto.fcmae_ft_in1k``."""
        return f"{self.variant}.{self.tag}"


def timm_preprocess(trained: Mapping[str, Any], image_size: int | None = None) -> PreprocessSpec:
    """What timm's ``pretrained_cfg`` says, at an image size (see ``preprocess_for``)."""
    tested = image_size is not None and image_size == (trained.get("test_input_size") or (0,))[-1]
    crop_pct = trained.get("test_crop_pct") if tested else None
    return PreprocessSpec(
        size=image_size or trained["input_size"][-1],
        crop_pct=crop_pct or trained.get("crop_pct", 0.875),
        resize="squash" if trained.get("crop_mode") == "squash" else "shortest",
        interpolation=trained.get("interpolation", "bicubic"),
        mean=three(trained["mean"]),
        std=three(trained["std"]),
    )


def three(values: Any) -> tuple[float, float, float]:
    """A number for each colour."""
    red, green, blue = values
    return float(red), float(green), float(blue)


def _read_tag(name: str, row: Mapping[str, Any]) -> Tag:
    variant, _, tag = name.partition(".")
    return Tag(
        variant=variant,
        tag=tag,
        hub_id=row["hf_hub_id"],
        license=row["license"],
        num_classes=row["num_classes"],
        preprocess=timm_preprocess(row),
        test_size=row["test_input_size"][-1] if row["test_input_size"] else None,
        test_crop_pct=row["test_crop_pct"],
    )


def _read_tags() -> Mapping[str, Tag]:
    text = resources.files("edgecvx").joinpath("assets/timm_tags.json").read_text(encoding="utf-8")
    return MappingProxyType({name: _read_tag(name, row) for name, row in json.loads(text).items()})


TAGS: Mapping[str, Tag] = _read_tags()
"""Every known set of weights, by its full timm name."""

_DEFAULT_TAGS: Mapping[str, str] = MappingProxyType(
    {
        **{f"convnextv2_{size}": "fcmae_ft_in1k" for size in _SIZES},
        "convnext_atto": "d2_in1k",
        "convnext_atto_ols": "a2_in1k",
        "convnext_femto": "d1_in1k",
        "convnext_femto_ols": "d1_in1k",
        "convnext_pico": "d1_in1k",
        "convnext_pico_ols": "d1_in1k",
        "convnext_nano": "d1h_in1k",
        "convnext_nano_ols": "d1h_in1k",
        "test_convnext": "r160_in1k",
        "test_convnext2": "r160_in1k",
        "test_convnext3": "r160_in1k",
    }
)


def default_tag(variant: str) -> Tag:
    """The weights meant when a variant is named without a tag.

    One rule for all: a 1000-class ImageNet-1k classifier without any larger data set behind it, so that the sizes of
    a family compare like with like. timm's own default differs for the two nano networks, where it takes the
    checkpoint that saw ImageNet-22k or -12k first; those are one tag away.
    """
    return TAGS[f"{variant}.{_DEFAULT_TAGS[variant]}"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelName:
    """What a name on the command line stands for."""

    arch: ArchSpec
    tag: Tag
    explicit: bool
    """Whether the tag was written, and with it these very weights asked for; else it is the variant's default."""


def resolve_name(name: str) -> ModelName:
    """Reads ``femto``, ``convnextv2_femto``, ``convnextv2_femto.fcmae_ft_in1k`` or the same with ``timm/`` before it.

    Raises:
        UsageError: No such variant, or no such tag of it.
    """
    bare, _, tag = name.removeprefix("timm/").partition(".")
    variant = SHORT_NAMES.get(bare, bare)
    if variant not in VARIANTS:
        raise one_of("model", name, [*SHORT_NAMES, *VARIANTS])
    if not tag:
        return ModelName(arch=VARIANTS[variant], tag=default_tag(variant), explicit=False)
    full = f"{variant}.{tag}"
    if full not in TAGS:
        raise one_of(f"tag of {variant}", tag, [t.tag for t in TAGS.values() if t.variant == variant])
    return ModelName(arch=VARIANTS[variant], tag=TAGS[full], explicit=True)


def preprocess_for(tag: Tag, image_size: int | None = None) -> PreprocessSpec:
    """The preprocessing these weights want at an image size.

    Without a size it is the training size and its crop. At the tag's test size it is the crop that goes with that
    one, which is wider; at any other size the training crop stays, the only one known to fit.
    """
    if image_size is None:
        return tag.preprocess
    if image_size == tag.test_size and tag.test_crop_pct is not None:
        return replace(tag.preprocess, size=image_size, crop_pct=tag.test_crop_pct)
    return replace(tag.preprocess, size=image_size)
