"""From a picture to the array a file takes: the part of the preprocessing that every device shares, with Pillow.

``edgecvx.data.preprocess`` does the same through these functions, so a board sees the pixels a desktop sees.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from PIL import Image

from edgecvx.board.preprocess import Preprocess

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_PIXELS = 89_478_485
"""The largest picture taken, 256 MiB of RGB: the size from which Pillow itself suspects a decompression bomb."""

_COLOUR_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"})

_RESAMPLING: Any = getattr(Image, "Resampling", Image)  # a namespace of its own since Pillow 9.1
_TRANSPOSE: Any = getattr(Image, "Transpose", Image)

_FILTERS = {
    "bicubic": _RESAMPLING.BICUBIC,
    "bilinear": _RESAMPLING.BILINEAR,
    "lanczos": _RESAMPLING.LANCZOS,
    "nearest": _RESAMPLING.NEAREST,
}

_EXIF_ORIENTATION = 0x0112
_UPRIGHT = {
    2: _TRANSPOSE.FLIP_LEFT_RIGHT,
    3: _TRANSPOSE.ROTATE_180,
    4: _TRANSPOSE.FLIP_TOP_BOTTOM,
    5: _TRANSPOSE.TRANSPOSE,
    6: _TRANSPOSE.ROTATE_270,
    7: _TRANSPOSE.TRANSVERSE,
    8: _TRANSPOSE.ROTATE_90,
}


class PictureError(Exception):
    """A picture cannot be used; the message is a sentence without the picture's name, which the caller knows."""


class Input(Protocol):
    """The part of a file's input that pixels depend on."""

    @property
    def dtype(self) -> str:
        """Numpy's name."""
        ...

    @property
    def layout(self) -> str:
        """``NCHW`` or ``NHWC``."""
        ...


def read_preprocess(data: Mapping[str, Any]) -> Preprocess:
    """Reads what ``to_json(PreprocessSpec)`` wrote.

    Raises:
        PictureError: A key is missing or unknown.
    """
    try:
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        return Preprocess(**values)
    except TypeError as error:
        raise PictureError(f"this preprocessing is of another version ({error})") from None


def decode(content: bytes, spec: Preprocess) -> Image.Image:
    """A picture file's content as 8-bit RGB, turned upright if the spec says so.

    Raises:
        PictureError: It is no picture, or damaged.
    """
    try:
        opened = Image.open(io.BytesIO(content))
        return upright(rgb(opened), orientation(opened) if spec.exif == "apply" else 1)
    except PictureError:
        raise
    except Exception as error:  # what Pillow raises for damaged files has no common base
        raise PictureError(f"it cannot be read ({' '.join(str(error).split())})") from error


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 where there is none."""
    value = image.getexif().get(_EXIF_ORIENTATION, 1)
    return value if isinstance(value, int) else 1


def upright(image: Image.Image, turned: int) -> Image.Image:
    """Turns a picture the way its EXIF orientation says."""
    return image.transpose(_UPRIGHT[turned]) if turned in _UPRIGHT else image


def rgb(image: Image.Image) -> Image.Image:
    """``convert("RGB")``, and what has to happen before it for the modes that it gets wrong.

    Transparency is dropped, not blended, and CMYK is converted without a colour profile: so does timm.
    """
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode not in _COLOUR_MODES:
        raise PictureError(f"pixels of kind {image.mode!r} have no agreed brightness; save it as 8-bit RGB")
    if image.mode == "P" and isinstance(image.info.get("transparency"), bytes):
        image = image.convert("RGBA")  # the same colours as straight to RGB, and no warning about the lost alpha
    return image.convert("RGB")


def resize_and_crop(image: Image.Image, spec: Preprocess) -> NDArray[np.uint8]:
    """The ``spec.size`` square that the network sees, as ``uint8`` height x width x RGB.

    Sizes are torchvision's: the shorter side becomes ``spec.resized``, the longer one is cut to an integer. A valid
    spec never crops more than was resized, so there is nothing to pad.
    """
    width, height = image.size
    side = spec.resized
    if spec.resize == "squash":
        target = (side, side)
    elif width <= height:
        target = (side, int(side * height / width))
    else:
        target = (int(side * width / height), side)
    if target[0] * target[1] > MAX_PIXELS:
        raise PictureError(
            f"a picture of {width} x {height} pixels is too narrow to be resized to {target[0]} x {target[1]}"
        )
    # Python's round takes halves to the even number, and so decides which pixel is dropped; torchvision uses it too.
    left, top = (round((length - spec.size) / 2.0) for length in target)
    # One pass per axis, across first: Pillow's own order until release 13, which takes tall pictures down first and so
    # rounds them differently. Written out, a board and a desktop see the same picture; the order is also the cheap one.
    image = _resize(image, (target[0], height), spec).crop((left, 0, left + spec.size, height))
    image = _resize(image, (spec.size, target[1]), spec).crop((0, top, spec.size, top + spec.size))
    return np.array(image)


def normalize(pixels: NDArray[np.uint8], spec: Preprocess) -> NDArray[np.float32]:
    """``(pixels / 255 - mean) / std``, each step rounded to float32 as in torchvision."""
    values: NDArray[np.float32] = pixels.astype(np.float32)
    values /= np.float32(255)
    values -= np.asarray(spec.mean, np.float32)
    values /= np.asarray(spec.std, np.float32)
    return values


def as_input(pixels: NDArray[np.uint8], spec: Preprocess, tensor: Input) -> NDArray[Any]:
    """Pictures of the right size, ``[N, size, size, 3]`` bytes, in the layout and dtype of a file's input."""
    values: NDArray[Any] = pixels
    if tensor.dtype != "uint8":
        values = normalize(pixels, spec).astype(tensor.dtype, copy=False)
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2) if tensor.layout == "NCHW" else values)


def stack(pictures: Sequence[Any]) -> Any:
    """Pictures of one size as a batch."""
    return pictures[0][None] if len(pictures) == 1 else np.stack(pictures)


def best(logits: Any, count: int) -> Any:
    """The indices of the ``count`` largest values of each row, the largest first."""
    return np.argsort(logits, axis=-1)[..., : -count - 1 : -1]


def _resize(image: Image.Image, size: tuple[int, int], spec: Preprocess) -> Image.Image:
    return image if image.size == size else image.resize(size, _FILTERS[spec.interpolation])
