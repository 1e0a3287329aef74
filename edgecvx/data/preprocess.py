"""From a picture to the array a file takes: numpy and Pillow, nothing else, so that it runs on a board.

The result is the one of timm's evaluation pipeline, to the bit: ``convert("RGB")``, Pillow's antialiased resize, the
centre crop, division by 255, mean and standard deviation in float32. Two differences are meant, and both can be seen
in a picture rather than in the last bit: a photo is first turned the way its EXIF says (``PreprocessSpec.exif``), and
16-bit grey keeps its high byte, where ``convert`` would clip nearly every pixel to white.

What touches pixels is in ``edgecvx.board.pictures``, which also runs where this package is not installed.
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

from edgecvx.board import pictures
from edgecvx.board.pictures import MAX_PIXELS
from edgecvx.board.pictures import as_input as as_input
from edgecvx.board.pictures import normalize as normalize
from edgecvx.errors import EdgecvxError, ImageError
from edgecvx.spec import PreprocessSpec, TensorSpec

PictureSource = Path | str | bytes | Image.Image | npt.NDArray[np.uint8]
"""A picture file, its content, a picture that Pillow has opened already, or a camera's frame: height x width x RGB."""

_GIVEN = "it must be a path, a file's bytes, a picture of Pillow's, or an array of uint8, height x width x RGB"

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF", "ICO")
"""What is read. Pillow knows more, but some of those run other programs (EPS) and none of them is a photo."""

# What Pillow's decoders have been seen to raise on damaged files; anything else is a bug here and must show.
_DAMAGED = (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, struct.error, zlib.error)
_BOMB = (Image.DecompressionBombError, Image.DecompressionBombWarning)


def open_picture(source: PictureSource) -> Image.Image:
    """Reads a picture's header and leaves its pixels where they are.

    Raises:
        ImageError: There is no such file, it is empty, no picture, or larger than ``MAX_PIXELS``.
    """
    if isinstance(source, np.ndarray):
        image = _from_frame(source)
    elif isinstance(source, Image.Image):
        image = source
    elif isinstance(source, Path | str | bytes):
        image = _open_encoded(Path(source) if isinstance(source, str) else source)
    else:
        raise ImageError(f"a {type(source).__name__} is no picture: {_GIVEN}")
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageError(f"{_name(source)}: {width} x {height} pixels are too many, at most {MAX_PIXELS} are read")
    if not width or not height:
        raise ImageError(f"{_name(source)}: {width} x {height} pixels are no picture")
    return image


def load_picture(source: PictureSource, spec: PreprocessSpec) -> Image.Image:
    """Decodes a picture: 8-bit RGB, turned upright if the spec says so; of an animation, its first frame.

    Transparency is dropped, not blended, and CMYK is converted without a colour profile: so does timm.

    Raises:
        ImageError: The picture cannot be read; the message is one sentence that names the file.
    """
    opened = open_picture(source)
    try:
        orientation = _orientation(opened) if spec.exif == "apply" else 1
        image = pictures.rgb(opened)
    except pictures.PictureError as error:
        raise ImageError(f"{_name(source)}: {error}") from None
    except _BOMB:
        raise ImageError(f"{_name(source)}: holds too many pixels, at most {MAX_PIXELS} are read") from None
    except _DAMAGED as error:
        raise ImageError(f"{_name(source)}: the picture is damaged or cut short ({_line(error)})") from None
    finally:
        if opened is not source:
            opened.close()
    return pictures.upright(image, orientation)


def resize_and_crop(image: Image.Image, spec: PreprocessSpec) -> npt.NDArray[np.uint8]:
    """The ``spec.size`` square that the network sees, as ``uint8`` height x width x RGB.

    Sizes are torchvision's: the shorter side becomes ``spec.resized``, the longer one is cut to an integer. A valid
    spec never crops more than was resized, so there is nothing to pad.
    """
    try:
        return pictures.resize_and_crop(image, spec)
    except pictures.PictureError as error:
        raise ImageError(str(error)) from None


def prepare(source: PictureSource, spec: PreprocessSpec, tensor: TensorSpec) -> npt.NDArray[Any]:
    """One picture as a batch of one, in the layout and dtype of a file's input.

    Args:
        source: The picture.
        spec: How it is resized, cropped and normalized.
        tensor: The file's input. ``uint8`` means that the file normalizes by itself and takes the raw pixels.
    """
    _check_input(spec, tensor)
    return as_input(resize_and_crop(load_picture(source, spec), spec)[None], spec, tensor)


def prepare_batch(sources: Iterable[PictureSource], spec: PreprocessSpec, tensor: TensorSpec) -> npt.NDArray[Any]:
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


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 where there is none; a damaged EXIF block spoils no picture, as in every viewer."""
    try:
        return pictures.orientation(image)
    except _DAMAGED:
        return 1


def _check_input(spec: PreprocessSpec, tensor: TensorSpec) -> None:
    sides = {"NCHW": tensor.shape[1:], "NHWC": (*tensor.shape[3:], *tensor.shape[1:3])}.get(tensor.layout)
    if sides != (3, spec.size, spec.size):
        shape = f"{tensor.layout} {tensor.shape}"
        raise EdgecvxError(f"input {tensor.name!r} ({shape}) does not take RGB pictures of {spec.size} pixels")
    if tensor.dtype == "int8":
        raise EdgecvxError(
            f"input {tensor.name!r} is int8, whose scale no preprocessing knows; use a float or uint8 input"
        )


def _name(source: PictureSource) -> str:
    return str(source) if isinstance(source, Path | str) else "the picture"


def _line(error: BaseException) -> str:
    """The error's text in one line."""
    return " ".join(str(error).split()) or type(error).__name__
