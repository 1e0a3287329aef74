"""Pictures of letters in the typefaces Debian ships: nothing of edgecvx's own drawn pictures is in them.

A class is a capital letter, in any colour on any ground, turned, sheared, stretched, outlined, shaded, half crossed
out, out of focus and grainy. One picture in seven is in trouble on top: faint, dark, or badly blurred.

Picture ``index`` of a stream depends on nothing but the two, the size and the font files. The typefaces of every
fourth package are in the validation pictures alone, so these ask what was learned about an A, not about one font's A.
"""

from __future__ import annotations

import colorsys
import functools
import hashlib
import math
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Floats = NDArray[np.floating[Any]]
Stream = Literal["train", "calibration", "validation"]
STREAMS: tuple[Stream, ...] = get_args(Stream)

CLASSES: tuple[str, ...] = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
"""The letters, in the order of the labels."""

_NAMES = """
adf-accanthis adf-baskervald adf-berenis adf-gillius adf-ikarius adf-libris adf-mekanus adf-oldania adf-romande
adf-switzera adf-tribun adf-universalis adf-verana allerta anonymous-pro arapey averia-sans-gwf averia-serif-gwf b612
bebas-neue beteckna breip cabin cantarell century-catalogue clear-sans comfortaa comic-neue courier-prime
crosextra-caladea crosextra-carlito dejavu-core dkg-handwriting dosis dustin ebgaramond elstob essays1743
evertype-conakry fanwood fantasque-sans femkeklaver georgewilliams gfs-artemisia gfs-didot gfs-neohellenic go
goudybookletter humor-sans inconsolata isabella jetbrains-mono junction jura karla kaushanscript klaudia-berenika
kristi lato leckerli-one liberation lindenhill lobstertwo manrope monofur mononoki national-park okolaks oldstandard
open-sans opendin opendyslexic oxygen paratype play prociono quattrocento quicksand radisnoir roadgeek roboto-unhinted
rufscript sil-andika sil-gentium-basic sjfonts sora staypuft summersby texgyre tiresias tomsontalks tuffy vollkorn
yanone-kaffeesatz
"""
PACKAGES = tuple(_NAMES.split())
"""Debian's fonts-*; their licences are in ``usr/share/doc`` of each."""

_EM = 96
"""Pixels per em at which glyphs are drawn before they are turned and scaled."""
_TILE = 256


def fetch_fonts(folder: Path) -> None:
    """Downloads and unpacks the packages that are not there yet, with apt and dpkg; nothing is installed."""
    missing = [name for name in PACKAGES if not (folder / name).is_dir()]
    if not missing:
        return
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as downloads:
        subprocess.run(["apt-get", "download", *(f"fonts-{name}" for name in missing)], cwd=downloads, check=True)
        for name in missing:
            (package,) = Path(downloads).glob(f"fonts-{name}_*.deb")
            subprocess.run(["dpkg-deb", "-x", package, Path(downloads) / name], check=True)
            (Path(downloads) / name).rename(folder / name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fonts:
    """The typefaces of each stream, package by package, so that a large package is drawn no more often than a small."""

    train: tuple[tuple[Path, ...], ...]
    validation: tuple[tuple[Path, ...], ...]
    sha256: str
    """Over the content of all of them."""

    def of(self, stream: Stream) -> tuple[tuple[Path, ...], ...]:
        """Calibration sees what training saw; it would be a poor test if it knew the typefaces of the test."""
        return self.validation if stream == "validation" else self.train


def read_fonts(folder: Path) -> Fonts:
    """Every font that can draw all classes, each in another way."""
    usable, digest = [], hashlib.sha256()
    for name in PACKAGES:
        files = sorted(f for f in (folder / name).rglob("*") if f.suffix.lower() in (".ttf", ".otf"))
        usable.append(tuple(f for f in files if not f.is_symlink() and _is_usable(f)))
        for file in usable[-1]:
            digest.update(file.read_bytes())
    if empty := [name for name, files in zip(PACKAGES, usable, strict=True) if not files]:
        raise SystemExit(f"no font in {folder} draws all classes in {', '.join(empty)}")
    return Fonts(
        train=tuple(files for i, files in enumerate(usable) if i % 4 != 3),
        validation=tuple(usable[3::4]),
        sha256=digest.hexdigest(),
    )


def picture(
    fonts: Fonts, index: int, *, stream: Stream, size: int = 128, zoom: float = 1.0, trouble: float = 1.0
) -> tuple[NDArray[np.uint8], int]:
    """Draws one picture.

    Args:
        fonts: The typefaces.
        index: Which one; the labels go round, so any ``len(CLASSES)`` pictures in a row hold each class once.
        stream: Whose typefaces, and whose random numbers.
        size: Its side in pixels.
        zoom: How much larger than usual the letter is in the frame.
        trouble: How much stands in the way, from 0, upright on an even ground, to 1.

    Returns:
        The picture, ``uint8`` height x width x RGB, and its label.
    """
    rng = np.random.default_rng((2026, STREAMS.index(stream), index))
    luck = np.random.default_rng((2026, STREAMS.index(stream), index, 1))
    mishap = luck.choice(["faint", "dark", "blurred"]) if luck.random() < 0.15 * trouble else None
    label = index % len(CLASSES)

    canvas = _ground(rng, stream, size, trouble)
    _clutter(canvas, rng, count=int(rng.uniform(0, 3) * trouble))
    packages = fonts.of(stream)
    files = packages[rng.integers(len(packages))]
    glyph = _glyphs(files[rng.integers(len(files))])[label]
    contrast = luck.uniform(0.08, 0.14) if mishap == "faint" else rng.uniform(0.6 - 0.25 * trouble, 0.9)
    mask = _placed(rng, glyph, size, scale=size * zoom * rng.uniform(0.5, 0.85) / _EM, trouble=trouble)
    _write(canvas, rng, stream, mask, contrast=contrast)
    if rng.random() < 0.2 * trouble:
        _clutter(canvas, rng, count=1)
    return _photograph(canvas, rng, luck, stream, mishap), label


def write_folder(fonts: Fonts, folder: Path, *, stream: Stream, count: int, size: int) -> None:
    """Writes the first pictures of a stream as PNG files, one sub-folder per class."""
    for index in range(count):
        pixels, label = picture(fonts, index, stream=stream, size=size)
        file = folder / CLASSES[label].replace(" ", "_") / f"{stream}-{index:06d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file)


# --- typefaces ---------------------------------------------------------------------------------------------------


def _is_usable(file: Path) -> bool:
    """Whether every class is there, and differs from the others and from the box that stands for a missing glyph."""
    font = ImageFont.truetype(file, 48, layout_engine=ImageFont.Layout.BASIC)
    shapes = {bytes(font.getmask(c)) for c in CLASSES}
    return len(shapes - {b"", bytes(font.getmask("\U0010ffff"))}) == len(CLASSES)


@functools.cache
def _glyphs(file: Path) -> tuple[Image.Image, ...]:
    """Every class in one font, trimmed, as coverage 0 to 255."""
    font = ImageFont.truetype(file, _EM, layout_engine=ImageFont.Layout.BASIC)
    drawn = []
    for character in CLASSES:
        left, top, right, bottom = font.getbbox(character)
        image = Image.new("L", (math.ceil(right - left) + 4, math.ceil(bottom - top) + 4))
        ImageDraw.Draw(image).text((2 - left, 2 - top), character, font=font, fill=255)
        drawn.append(image)
    return tuple(drawn)


# --- the scene ---------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=len(STREAMS))
def _tiles(stream: Stream) -> NDArray[np.float32]:
    """Clouds, from rough to smooth, and one tile of white noise at the end; mean 0, deviation 1."""
    rng = np.random.default_rng((2026, STREAMS.index(stream)))
    frequency = np.hypot(np.fft.fftfreq(_TILE)[:, None], np.fft.rfftfreq(_TILE)[None])
    frequency[0, 0] = np.inf  # leaves no mean
    tiles = []
    for exponent in (0.7, 0.9, 1.1, 1.3, 1.5, 1.7, 1.9, 0.0):
        waves = np.fft.rfft2(rng.standard_normal((_TILE, _TILE))) / frequency**exponent
        values = np.fft.irfft2(waves, (_TILE, _TILE))
        tiles.append(values / values.std())
    return np.stack(tiles).astype(np.float32)


def _texture(rng: np.random.Generator, stream: Stream, size: int, *, white: bool = False) -> Floats:
    """A random piece of a random cloud, or of the white noise."""
    tiles = _tiles(stream)
    tile = tiles[-1] if white else tiles[rng.integers(len(tiles) - 1)]
    y, x = rng.integers(0, _TILE - size + 1, 2)
    piece: Floats = tile[y : y + size, x : x + size]
    return piece.T if rng.random() < 0.5 else piece


def _ground(rng: np.random.Generator, stream: Stream, size: int, trouble: float) -> Floats:
    """Two colours that run into each other, now slowly, now in stripes or patches; planar RGB, 0 to 1."""
    one = _colour(rng)
    other = one + (_colour(rng) - one) * (trouble * rng.uniform(0, 0.6))
    line = np.linspace(-1, 1, size, dtype=np.float32)
    angle, kind = rng.uniform(0, math.tau), rng.integers(3)
    ramp = line[:, None] * math.sin(angle) + line * math.cos(angle)
    if kind == 1:
        ramp = np.sin(ramp * rng.uniform(3, 15))
    elif kind == 2:
        ramp = _texture(rng, stream, size) * rng.uniform(0.3, 3)
    canvas = one + (other - one) * np.clip(0.5 + 0.5 * ramp, 0, 1)
    canvas *= 1 + rng.uniform(0, 0.15 * trouble) * _texture(rng, stream, size)
    return canvas.astype(np.float32)


def _clutter(canvas: Floats, rng: np.random.Generator, *, count: int) -> None:
    """Strokes, arcs and blots of no class."""
    size = canvas.shape[1]
    for _ in range(count):
        mask = Image.new("L", (size, size))
        draw, width = ImageDraw.Draw(mask), int(size * rng.uniform(0.01, 0.05)) + 1
        (x, y), (w, h) = rng.uniform(0, size, 2), rng.uniform(0.05, 0.5, 2) * size
        box, kind = (x - w, y - h, x + w, y + h), rng.integers(3)
        if kind == 0:
            draw.line((x - w, y - h * rng.choice((-1, 1)), x + w, y + h), fill=255, width=width)
        elif kind == 1:
            draw.arc(box, rng.uniform(0, 360), rng.uniform(0, 360), fill=255, width=width)
        else:
            draw.ellipse((x - w / 4, y - h / 4, x + w / 4, y + h / 4), fill=255)
        _paint(canvas, _colour(rng), np.asarray(mask, np.float32) * (rng.uniform(0.4, 1) / 255))


def _write(canvas: Floats, rng: np.random.Generator, stream: Stream, mask: Image.Image, *, contrast: float) -> None:
    """The letter, with or without a shadow and an outline, plain, shaded or grained."""
    size = canvas.shape[1]
    ground = float(canvas.mean())
    brighter = rng.random() < (1 - ground)  # towards where there is more room
    colour = _towards(_colour(rng), ground + contrast * ((1 - ground) if brighter else -ground))
    if rng.random() < 0.3:
        shadow = mask.filter(ImageFilter.BoxBlur(rng.uniform(0, 3)))
        moved = np.roll(np.asarray(shadow, np.float32), rng.integers(-4, 5, 2), (0, 1))
        _paint(canvas, np.zeros_like(colour), moved * (rng.uniform(0.2, 0.6) / 255))
    if rng.random() < 0.2:
        _paint(canvas, _colour(rng), np.asarray(mask.filter(ImageFilter.MaxFilter(5)), np.float32) / 255)
    fill = colour * (1 + rng.uniform(0, 0.2) * _texture(rng, stream, size))
    fill *= 1 + rng.uniform(-0.3, 0.3) * np.linspace(-1, 1, size, dtype=np.float32)[:, None]
    _paint(canvas, fill, np.asarray(mask, np.float32) * (rng.uniform(0.75, 1) / 255))


def _placed(rng: np.random.Generator, glyph: Image.Image, size: int, *, scale: float, trouble: float) -> Image.Image:
    """The glyph turned, sheared and stretched, somewhere in the frame and whole where it fits."""
    turn, shear, stretch = rng.uniform(-1, 1, 3) * (0.3 * trouble, 0.12 * trouble, 0.15 * trouble)
    rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    forward = scale * rotation @ np.array([[1, shear], [0, 1]]) @ np.diag(np.exp([stretch, -stretch]))
    half = np.abs(forward) @ (np.array(glyph.size) / 2)
    centre = size / 2 + rng.uniform(-1, 1, 2) * np.maximum(size / 2 - half, 0.05 * size) * (0.3 + 0.3 * trouble)
    back = np.linalg.inv(forward)
    (a, b), (d, e) = back.tolist()
    c, f = (np.array(glyph.size) / 2 - back @ centre).tolist()
    return glyph.transform((size, size), Image.Transform.AFFINE, (a, b, c, d, e, f), Image.Resampling.BICUBIC)


def _photograph(
    canvas: Floats, rng: np.random.Generator, luck: np.random.Generator, stream: Stream, mishap: str | None
) -> NDArray[np.uint8]:
    """Focus, exposure, grain, 8 bits."""
    size = canvas.shape[1]
    image = Image.fromarray(_bytes(canvas * 255))
    if mishap == "blurred" or rng.random() < 0.5:
        radius = luck.uniform(2, 3.5) if mishap == "blurred" else rng.uniform(0.2, 1.5)
        image = image.filter(ImageFilter.BoxBlur(radius))
    pixels = np.asarray(image, np.float32).transpose(2, 0, 1)
    light = luck.uniform(0.15, 0.35) if mishap == "dark" else rng.uniform(0.7, 1.2)
    grain = np.stack([_texture(rng, stream, size, white=True) for _ in range(3)])
    return _bytes(pixels * (light * rng.uniform(0.9, 1.1, (3, 1, 1)).astype(np.float32)) + rng.uniform(1, 8) * grain)


def _bytes(planes: Floats) -> NDArray[np.uint8]:
    return np.ascontiguousarray(np.clip(planes, 0, 255).astype(np.uint8).transpose(1, 2, 0))


def _paint(canvas: Floats, colour: Floats, cover: Floats) -> None:
    canvas += (colour - canvas) * cover


def _colour(rng: np.random.Generator) -> Floats:
    saturation, value = rng.uniform(0, 0.9), rng.uniform(0.1, 1)
    return np.array(colorsys.hsv_to_rgb(rng.random(), saturation, value), np.float32)[:, None, None]


def _towards(colour: Floats, brightness: float) -> Floats:
    """The colour made as bright as this, as far as 0 to 1 allows."""
    moved: Floats = np.clip(colour + np.float32(brightness - float(colour.mean())), 0, 1)
    return moved
