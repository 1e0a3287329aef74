"""Pictures of every kind that a phone may hand a page: sizes, kinds of pixels, orientations, formats."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from edgecvx.data import demo

ORIENTATION = 0x0112
SIZES = ((1, 1), (1, 300), (2, 3), (223, 225), (640, 427), (37, 1000), (1201, 53))


def odd_pictures() -> Iterator[tuple[str, bytes]]:
    """Name -> file."""
    photo = Image.fromarray(demo.picture(5, size=331)[0]).crop((0, 0, 331, 257))
    for size in SIZES:
        yield f"{size[0]}x{size[1]}.png", encoded(photo.resize(size))
    yield from ((f"{name}.png", encoded(picture)) for name, picture in pixel_kinds(photo))
    for turn in range(1, 9):
        exif = Image.Exif()
        exif[ORIENTATION] = turn
        yield f"exif-{turn}.png", encoded(photo, exif=exif)
    yield from formats(photo)


def pixel_kinds(photo: Image.Image) -> Iterator[tuple[str, Image.Image]]:
    """What a PNG's pixels may be."""
    draw = np.random.default_rng(0)
    alpha = Image.fromarray(draw.integers(0, 256, (photo.height, photo.width), np.uint8))
    yield "greyscale", photo.convert("L")
    yield "black-and-white", photo.convert("1")
    yield "palette", photo.convert("P", palette=Image.Palette.ADAPTIVE)
    yield "greyscale-16-bit", Image.fromarray(draw.integers(0, 65536, (101, 77), np.uint16))
    faded = photo.copy()
    faded.putalpha(alpha)
    yield "alpha", faded
    gone = photo.copy()
    gone.putalpha(0)
    yield "wholly-transparent", gone
    yield "greyscale-alpha", faded.convert("LA")


def formats(photo: Image.Image) -> Iterator[tuple[str, bytes]]:
    """Other formats; JPEG and lossy WebP leave their decoders some freedom."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    yield "photo.bmp", encoded(photo, "BMP")
    yield "photo.gif", encoded(photo.convert("P", palette=Image.Palette.ADAPTIVE), "GIF")
    yield "lossless.webp", encoded(photo, "WEBP", lossless=True)
    yield "lossy.webp", encoded(photo, "WEBP", quality=85)
    yield "444.jpg", encoded(photo, "JPEG", quality=92, subsampling=0)
    yield "420.jpg", encoded(photo, "JPEG", quality=85, subsampling=2)
    yield "420-progressive-exif-6.jpg", encoded(photo, "JPEG", quality=85, progressive=True, exif=exif)
    yield "greyscale.jpg", encoded(photo.convert("L"), "JPEG", quality=90)


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()
