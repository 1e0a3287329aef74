"""From a picture to the array a file takes: numpy and Pillow, nothing else, so that it runs on a board.

The result is the one of timm's evaluation pipeline, to the bit: ``convert("RGB")``, Pillow's antialiased resize, the
centre crop, division by 255, mean and standard deviation in float32. Two differences are meant, and both can be seen
in a picture rather than in the last bit: a photo is first turned the way its EXIF says (``PreprocessSpec.exif``), and
16-bit grey keeps its high byte, where ``convert`` would clip nearly every pixel to white.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from edgecvx.errors import EdgecvxError, ImageError
from edgecvx.spec import PreprocessSpec, TensorSpec

Source = Path | str | bytes | Image.Image | npt.NDArray[np.uint8]
"""A picture file, its content, a picture that Pillow has opened already, or a camera's frame: height x width x RGB."""

MAX_PIXELS = 89_478_485
"""The largest picture taken, 256 MiB of RGB: the size from which Pillow itself suspects a decompression bomb."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF", "ICO")
"""What is read. Pillow knows more, but some of those run other programs (EPS) and none of them is a photo."""

_COLOUR_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"})

# What Pillow's decoders have been seen to raise on damaged files; anything else is a bug here and must show.
_DAMAGED = (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, struct.error, zlib.error)
_BOMB = (Image.DecompressionBombError, Image.DecompressionBombWarning)

_RESAMPLING = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
}

_EXIF_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def open_picture(source: Source) -> Image.Image:
    """Reads a picture's header and leaves its pixels where they are.

    Raises:
        ImageError: There is no such file, it is empty, no picture, or larger than ``MAX_PIXELS``.
    """
    if isinstance(source, np.ndarray):
        image = _from_frame(source)
    elif isinstance(source, Image.Image):
        image = source
    else:
        image = _open_encoded(Path(source) if isinstance(source, str) else source)
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageError(f"{_name(source)}: {width} x {height} pixels are too many, at most {MAX_PIXELS} are read")
    if not width or not height:
        raise ImageError(f"{_name(source)}: {width} x {height} pixels are no picture")
    return image


def load_picture(source: Source, spec: PreprocessSpec) -> Image.Image:
    """Decodes a picture: 8-bit RGB, turned upright if the spec says so; of an animation, its first frame.

    Transparency is dropped, not blended, and CMYK is converted without a colour profile: so does timm.

    Raises:
        ImageError: The picture cannot be read; the message is one sentence that names the file.
    """
    opened = open_picture(source)
    try:
        orientation = _orientation(opened) if spec.exif == "apply" else 1
        image = _rgb(opened, source)
    except _BOMB:
        raise ImageError(f"{_name(source)}: holds too many pixels, at most {MAX_PIXELS} are read") from None
    except _DAMAGED as error:
        raise ImageError(f"{_name(source)}: the picture is damaged or cut short ({_line(error)})") from None
    finally:
        if opened is not source:
            opened.close()
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def resize_and_crop(image: Image.Image, spec: PreprocessSpec) -> npt.NDArray[np.uint8]:
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
        raise ImageError(
            f"a picture of {width} x {height} pixels is too narrow to be resized to {target[0]} x {target[1]}"
        )
    # Python's round takes halves to the even number, and so decides which pixel is dropped; torchvision uses it too.
    left, top = (round((length - spec.size) / 2.0) for length in target)
    # One pass per axis, across first: Pillow's own order until release 13, which takes tall pictures down first and so
    # rounds them differently. Written out, a board and a desktop see the same picture; the order is also the cheap one.
    image = _resize(image, (target[0], height), spec).crop((left, 0, left + spec.size, height))
    image = _resize(image, (spec.size, target[1]), spec).crop((0, top, spec.size, top + spec.size))
    return np.array(image)


def normalize(pixels: npt.NDArray[np.uint8], spec: PreprocessSpec) -> npt.NDArray[np.float32]:
    """``(pixels / 255 - mean) / std``, each step rounded to float32 as in torchvision."""
    values = pixels.astype(np.float32)
    values /= np.float32(255)
    values -= np.asarray(spec.mean, np.float32)
    values /= np.asarray(spec.std, np.float32)
    return values


def as_input(pixels: npt.NDArray[np.uint8], spec: PreprocessSpec, tensor: TensorSpec) -> npt.NDArray[Any]:
    """Pictures of the right size, ``[N, size, size, 3]`` bytes, in the layout and dtype of a file's input."""
    values: npt.NDArray[Any] = pixels
    if tensor.dtype != "uint8":
        values = normalize(pixels, spec).astype(tensor.dtype, copy=False)
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2) if tensor.layout == "NCHW" else values)


def prepare(source: Source, spec: PreprocessSpec, tensor: TensorSpec) -> npt.NDArray[Any]:
    """One picture as a batch of one, in the layout and dtype of a file's input.

    Args:
        source: The picture.
        spec: How it is resized, cropped and normalized.
        tensor: The file's input. ``uint8`` means that the file normalizes by itself and takes the raw pixels.
    """
    _check_input(spec, tensor)
    return as_input(resize_and_crop(load_picture(source, spec), spec)[None], spec, tensor)


def prepare_batch(sources: Iterable[Source], spec: PreprocessSpec, tensor: TensorSpec) -> npt.NDArray[Any]:
    """As many pictures as there are sources, stacked; the file's own batch size is for the caller to keep."""
    batch = [prepare(source, spec, tensor) for source in sources]
    if not batch:
        raise EdgecvxError("a batch needs at least one picture, got none")
    return np.concatenate(batch)


def _from_frame(frame: npt.NDArray[np.uint8]) -> Image.Image:
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        raise ImageError(
            f"an array of {frame.dtype} {list(frame.shape)} is no picture: it must be uint8, height x width x RGB"
        )
    return Image.fromarray(frame)


def _open_encoded(source: Path | bytes) -> Image.Image:
    """Opens a file or its content; what Pillow raises becomes one sentence."""
    name = _name(source)
    Image.init()
    readable = [known for known in FORMATS if known in Image.OPEN]  # AVIF is not in every build of Pillow
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            if not (len(source) if isinstance(source, bytes) else source.stat().st_size):
                raise ImageError(f"{name}: the file is empty")
            return Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=readable)
        except FileNotFoundError:
            raise ImageError(f"{name}: no such file") from None
        except _BOMB:
            raise ImageError(f"{name}: holds too many pixels, at most {MAX_PIXELS} are read") from None
        except _DAMAGED as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise ImageError(f"{name}: cannot be read ({error.strerror})") from None
            raise ImageError(f"{name}: is not a picture; {', '.join(FORMATS)} are read") from None


def _rgb(image: Image.Image, source: Source) -> Image.Image:
    """``convert("RGB")``, and what has to happen before it for the modes that it gets wrong."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode not in _COLOUR_MODES:
        raise ImageError(
            f"{_name(source)}: pixels of kind {image.mode!r} have no agreed brightness; save it as 8-bit RGB"
        )
    if image.mode == "P" and isinstance(image.info.get("transparency"), bytes):
        image = image.convert("RGBA")  # the same colours as straight to RGB, and no warning about the lost alpha
    return image.convert("RGB")


def _resize(image: Image.Image, size: tuple[int, int], spec: PreprocessSpec) -> Image.Image:
    return image if image.size == size else image.resize(size, _RESAMPLING[spec.interpolation])


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 where there is none; a damaged EXIF block spoils no picture, as in every viewer."""
    try:
        value = image.getexif().get(_EXIF_ORIENTATION, 1)
    except _DAMAGED:
        return 1
    return value if isinstance(value, int) else 1


def _check_input(spec: PreprocessSpec, tensor: TensorSpec) -> None:
    sides = {"NCHW": tensor.shape[1:], "NHWC": (*tensor.shape[3:], *tensor.shape[1:3])}.get(tensor.layout)
    if sides != (3, spec.size, spec.size):
        shape = f"{tensor.layout} {tensor.shape}"
        raise EdgecvxError(f"input {tensor.name!r} ({shape}) does not take RGB pictures of {spec.size} pixels")
    if tensor.dtype == "int8":
        raise EdgecvxError(
            f"input {tensor.name!r} is int8, whose scale no preprocessing knows; use a float or uint8 input"
        )


def _name(source: Source) -> str:
    return str(source) if isinstance(source, Path | str) else "the picture"


def _line(error: BaseException) -> str:
    """The error's text in one line."""
    return " ".join(str(error).split()) or type(error).__name__
