"""The vocabulary: values that say what a model, a picture, a file and a request are.

Every class here is frozen and checks itself when it is made, so a value that exists is a value that makes sense.
They hold no tensors and no framework objects, and turn into plain JSON and back; unknown keys are refused, because a
key that is silently ignored is a setting that is silently not applied.
"""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from edgecvx.board.preprocess import Preprocess
from edgecvx.board.values import read
from edgecvx.errors import EdgecvxError, UsageError

T = TypeVar("T")

STRIDE = 32
"""Total stride of the network: 4 in the stem, 2 before each later stage."""

CALIBRATION_PICTURES = 256
"""For an INT8 file, where nothing is said."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Task(str, enum.Enum):
    """What a file returns."""

    CLASSIFY = "classify"
    """Logits, one row per picture."""
    FEATURES = "features"
    """The four stage maps, as timm's ``features_only`` gives them."""
    EMBED = "embed"
    """The pooled and normalized vector before the classifier."""


Scales = Literal["none", "calibrated", "at run time"]
"""Where the scales of activations come from."""


class Precision(str, enum.Enum):
    """The precision of an artifact: its name, and the values it stands for."""

    bits: int
    """Of each weight: floats where there are no scales, integers otherwise."""
    scales: Scales
    group: int | None
    """How many weights share a scale; None for those of one output channel."""

    def __new__(cls, name: str, bits: int, scales: Scales = "none", group: int | None = None) -> Precision:
        """A member, by the name that users type."""
        member = str.__new__(cls, name)
        member._value_, member.bits, member.scales, member.group = name, bits, scales, group
        return member

    if TYPE_CHECKING:
        # A member is also found by its name alone.
        def __init__(self, name: str, bits: int = 0, scales: Scales = "none", group: int | None = None) -> None: ...

    FP32 = ("fp32", 32)
    FP16 = ("fp16", 16)
    INT8 = ("int8", 8, "calibrated")
    """Convolutions and classifier in INT8, with scales found by calibration."""
    INT8_DYNAMIC = ("int8-dynamic", 8, "at run time")
    """Weights in INT8, the scales of activations found anew for each picture: no calibration."""

    @property
    def quantized(self) -> bool:
        """Whether weights are integers."""
        return self.scales != "none"

    @property
    def calibrated(self) -> bool:
        """Whether it takes pictures to find its scales."""
        return self.scales == "calibrated"

    @property
    def half(self) -> bool:
        """Whether it is FP16: floats of 16 bits."""
        return not self.quantized and self.bits == 16


def is_quantized(precision: str) -> bool:
    """Whether a precision that somebody names has integer weights; one that is not known here has none."""
    return precision in {p.value for p in Precision} and Precision(precision).quantized


class InputKind(str, enum.Enum):
    """What a file takes: normalized floats, or the picture's own bytes."""

    FLOAT = "float"
    UINT8 = "uint8"


class OutputKind(str, enum.Enum):
    """What a classifier returns: the numbers before the softmax, or those behind it."""

    LOGITS = "logits"
    PROBABILITIES = "probabilities"


Stem = Literal["patch", "overlap", "overlap_tiered"]
Activation = Literal["gelu", "gelu_tanh", "silu"]
Layout = Literal["NCHW", "NHWC", "NC"]
WeightsKind = Literal["imagenet", "demo", "random", "file", "module"]
"""Where weights come from; ``module`` is one that somebody held in memory."""
LayoutName = Literal["timm", "transformers", "mmpretrain", "original"]
"""Who names a checkpoint's tensors so."""
Interpolation = Literal["bicubic", "bilinear", "lanczos", "nearest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchSpec:
    """An architecture: everything about the network but its weights and its number of classes."""

    name: str
    depths: tuple[int, ...]
    dims: tuple[int, ...]
    kernel_sizes: tuple[int, ...] = (7, 7, 7, 7)
    stem: Stem = "patch"
    stem_mid: int | None = None
    """Channels between the two stem convolutions of an ``overlap`` stem; None for the patch stem."""
    grn: bool = True
    """Global response normalization (V2), or per-channel layer scale (V1)."""
    act: Activation = "gelu"
    norm_eps: float = 1e-6
    head_norm_eps: float = 1e-6
    """Differs from ``norm_eps`` in transformers, which uses 1e-12 there."""
    grn_eps: float = 1e-6

    def __post_init__(self) -> None:
        if not (len(self.depths) == len(self.dims) == len(self.kernel_sizes) == 4):
            raise EdgecvxError(f"{self.name}: a ConvNeXt has four stages, got depths {self.depths}, dims {self.dims}")
        if any(k % 2 == 0 for k in self.kernel_sizes):
            raise EdgecvxError(f"{self.name}: depthwise kernels are odd, got {self.kernel_sizes}")
        if (self.stem == "patch") != (self.stem_mid is None):
            raise EdgecvxError(f"{self.name}: stem {self.stem!r} does not go with stem_mid={self.stem_mid}")
        stem_mid = 1 if self.stem_mid is None else self.stem_mid
        if min(*self.depths, *self.dims, *self.kernel_sizes, stem_mid) < 1:
            raise EdgecvxError(
                f"{self.name}: depths {self.depths}, dims {self.dims}, kernels {self.kernel_sizes} "
                f"and stem_mid {self.stem_mid} must be at least 1"
            )
        epsilons = (self.norm_eps, self.head_norm_eps, self.grn_eps)
        if any(not (0.0 < eps < math.inf) for eps in epsilons):
            raise EdgecvxError(f"{self.name}: epsilons must be positive and finite, got {epsilons}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PreprocessSpec(Preprocess):
    """From a picture file to the network's input; the one description every stage uses.

    ``shortest``: the shorter side becomes ``floor(size / crop_pct)``, then the centre is cropped (timm's way).
    ``squash``: both sides become ``floor(size / crop_pct)`` whatever the aspect, then the centre is cropped.
    """

    size: int = 224
    crop_pct: float = 0.875
    resize: Literal["shortest", "squash"] = "shortest"
    interpolation: Interpolation = "bicubic"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    color: Literal["RGB"] = "RGB"
    exif: Literal["apply", "ignore"] = "apply"
    """Whether a picture is first turned the way its EXIF orientation says, as every viewer shows it."""

    def __post_init__(self) -> None:
        check_image_size(self.size)
        if not 0.1 <= self.crop_pct <= 1.0:  # below, hardly anything of a picture would be seen
            raise EdgecvxError(f"crop_pct must lie between 0.1 and 1, got {self.crop_pct}")
        if any(s <= 0 or not math.isfinite(s) for s in self.std) or not all(math.isfinite(m) for m in self.mean):
            raise EdgecvxError(f"mean {self.mean} and std {self.std} must be finite, std positive")


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsSource:
    """Where weights came from, and under which licence."""

    kind: WeightsKind
    ref: str
    """A hub id, a file name, a class or a seed; never a path of somebody's machine."""
    layout: LayoutName
    sha256: str
    """Of the file, or of the tensors where there was none."""
    license: str | None = None

    @property
    def brought(self) -> bool:
        """Whether a user brought them: nobody here knows how their pictures were prepared."""
        return self.kind in ("file", "module")

    @property
    def noncommercial(self) -> bool:
        """Whether the licence forbids commercial use."""
        return self.license is not None and "-nc" in self.license


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """A network with its weights, described: the architecture, the classes, the preprocessing, the source."""

    arch: ArchSpec
    tag: str
    """The second half of timm's name (``fcmae_ft_in1k``), or ``demo``, ``random``, or the checkpoint file's stem."""
    num_classes: int
    """0 for a checkpoint without a classifier."""
    preprocess: PreprocessSpec
    weights: WeightsSource
    labels: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.num_classes < 0:
            raise EdgecvxError(f"{self.name}: {self.num_classes} classes do not make a network")
        if self.labels is not None and len(self.labels) != self.num_classes:
            raise UsageError(f"{len(self.labels)} labels do not go with a network of {self.num_classes} classes")

    @property
    def name(self) -> str:
        """``convnextv2_femto.fcmae_ft_in1k``: what files and reports call it."""
        return f"{self.arch.name}.{self.tag}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The pictures an INT8 file was calibrated on."""

    kind: Literal["demo", "folder"]
    name: str
    """Of the folder, without the path to it; ``demo`` for drawn pictures."""
    count: int
    sha256: str
    """Of the list of pictures."""
    pictures: tuple[str, ...]
    """Each picture's content hash, by which it is kept out of every evaluation."""

    def __post_init__(self) -> None:
        if self.count != len(self.pictures) or not self.count:
            raise EdgecvxError(f"a calibration on {self.count} pictures names {len(self.pictures)}")

    @property
    def in_words(self) -> str:
        """``256 drawn pictures``, ``300 pictures of birds``."""
        return f"{self.count} {'drawn pictures' if self.kind == 'demo' else f'pictures of {self.name}'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One input or output of a file."""

    name: str
    shape: tuple[int, ...]
    dtype: Literal["float32", "float16", "uint8", "int8"]
    layout: Layout

    def __post_init__(self) -> None:
        if len(self.shape) != len(self.layout):
            raise EdgecvxError(f"tensor {self.name!r}: shape {self.shape} does not fit layout {self.layout}")


def check_image_size(size: int) -> int:
    """Returns ``size`` if a ConvNeXt can take it: a positive multiple of 32, the network's total stride."""
    if size < STRIDE or size % STRIDE or size > 2048:
        raise UsageError(f"image size {size} does not work: it must be a multiple of {STRIDE}, from {STRIDE} to 2048")
    return size


def to_json(value: object) -> Any:
    """A spec, or anything made of specs, as plain JSON values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(k.value if isinstance(k, enum.Enum) else k): to_json(v) for k, v in value.items()}
    if isinstance(value, frozenset):
        return sorted(to_json(v) for v in value)
    if isinstance(value, tuple | list):
        return [to_json(v) for v in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{type(value).__name__} has no JSON form")


def from_json(cls: type[T], data: object, *, where: str = "value") -> T:
    """The spec that ``to_json`` wrote, checked key by key.

    Args:
        cls: The dataclass to build.
        data: What ``json.loads`` gave.
        where: How to name the value in an error.

    Raises:
        EdgecvxError: A key is unknown or missing, or a value has the wrong type.
    """
    return read(cls, data, where, EdgecvxError)
