"""Drawn pictures: a data set that needs no download, endless and the same everywhere.

A class is a colour and a shape ("red star"). The rest is there to be looked through, as in photos: backgrounds whose
spectrum falls like that of natural scenes, a horizon, light from one side, shade on the object and its shadow, clutter,
an occluder, patterns on the object, wobbly outlines, blur and noise; position, size, turn, stretch and tint vary.
One picture in five is in trouble on top of that: far away, half hidden, in fog, at dusk or shaken. A set without
hard pictures would let a damaged network pass.

Picture ``index`` of a stream depends on nothing but the two and the size. The streams draw from different seeds and
different background tiles, so no picture is in two of them. Random numbers are exact on every machine; the sines and
Fourier transforms behind the textures may differ in their last bit, and with them, rarely, a pixel by one level.
"""

from __future__ import annotations

import colorsys
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from edgecvx.errors import UsageError, one_of

Array = npt.NDArray[np.floating[Any]]
Point = npt.NDArray[np.float64]
Shape = Callable[[Array, Array], Array]
Stream = Literal["train", "calibration", "validation"]
STREAMS: tuple[Stream, ...] = get_args(Stream)

# Hue in degrees and how far it wanders; the gaps between them are what makes the colours nameable.
_HUES = {"red": (357.0, 10.0), "yellow": (50.0, 7.0), "green": (125.0, 20.0), "blue": (222.0, 16.0)}


def _disc(u: Array, v: Array) -> Array:
    return np.hypot(u, v) - 0.92


def _ring(u: Array, v: Array) -> Array:
    return np.abs(np.hypot(u, v) - 0.76) - 0.24


def _triangle(u: Array, v: Array) -> Array:
    side = np.abs(u) * (math.sqrt(3) / 2) - v * 0.5
    return np.maximum(side, v) - 0.55


def _square(u: Array, v: Array) -> Array:
    return np.maximum(np.abs(u), np.abs(v)) - 0.8


def _star(u: Array, v: Array) -> Array:
    # Folded into half a point: there the outline is one straight edge, from the tip (1, 0) to the notch.
    sector = math.tau / 5
    angle = np.abs(np.mod(np.arctan2(u, -v) + sector / 2, sector) - sector / 2)
    distance = np.hypot(u, v)
    notch = (0.45 * math.cos(math.pi / 5), 0.45 * math.sin(math.pi / 5))
    length = math.hypot(1 - notch[0], notch[1])
    across, along = notch[1] / length, (1 - notch[0]) / length
    return (distance * np.cos(angle) - 1) * across + distance * np.sin(angle) * along


def _cross(u: Array, v: Array) -> Array:
    a, b = np.abs(u), np.abs(v)
    return np.maximum(np.maximum(a, b) - 0.95, np.minimum(a, b) - 0.3)


# Signed distance to the outline, negative inside, in a frame where the object has a radius of 1 and v points down.
_SHAPES: dict[str, Shape] = {
    "disc": _disc,
    "ring": _ring,
    "triangle": _triangle,
    "square": _square,
    "star": _star,
    "cross": _cross,
}

_MISHAPS = ("far", "hidden", "fog", "dusk", "shaken")

CLASSES: tuple[str, ...] = tuple(f"{colour} {shape}" for shape in _SHAPES for colour in _HUES)
"""The class names, in the order of the labels."""


def picture(
    index: int, *, stream: Stream = "validation", size: int = 224, zoom: float = 1.0, trouble: float = 0.2
) -> tuple[npt.NDArray[np.uint8], int]:
    """Draws one picture.

    Args:
        index: Which one; the labels go round, so any ``len(CLASSES)`` pictures in a row hold each class once.
        stream: ``train``, ``calibration`` or ``validation``.
        size: Its side in pixels, 32 to 1024.
        zoom: How much larger than usual the object is in the frame: 2 at 112 pixels shows what 1 shows at 224, closer.
        trouble: The share of pictures that are made hard; for the first lessons of a network, better none.

    Returns:
        The picture, ``uint8`` height x width x RGB, and its label.
    """
    if stream not in STREAMS:
        raise one_of("stream", stream, STREAMS)
    if index < 0 or not 32 <= size <= 1024:
        raise UsageError(f"no picture {index} at {size} pixels: the index counts from 0, the size goes from 32 to 1024")
    rng = np.random.default_rng((STREAMS.index(stream), index))
    luck = np.random.default_rng((STREAMS.index(stream), index, 1))  # apart, so that trouble changes nothing else
    mishap = luck.choice(_MISHAPS) if luck.random() < trouble else None
    label = index % len(CLASSES)
    colour, shape = CLASSES[label].split()

    scene = _Scene(canvas=np.empty((3, size, size), np.float32), rng=rng, stream=stream)
    _background(scene)
    for _ in range(rng.integers(1, 5)):
        _clutter(scene, rng.uniform(0, size, 2), size * rng.uniform(0.05, 0.16))
    radius = size * zoom * rng.uniform(0.17, 0.28) * (luck.uniform(0.4, 0.65) if mishap == "far" else 1.0)
    room = max(size / 2 - 0.9 * radius, 0.08 * size)
    centre = size / 2 + rng.uniform(-room, room, 2)
    _object(scene, _SHAPES[shape], _object_colour(rng, colour), centre, radius)
    if rng.random() < 0.4:  # an occluder that bites into the outline and leaves most of it
        away = rng.uniform(0, math.tau)
        edge = centre + radius * np.array([math.cos(away), math.sin(away)])
        _clutter(scene, edge, radius * rng.uniform(0.25, 0.42))
    if mishap is not None:
        _spoil(replace(scene, rng=luck), mishap, centre, radius)
    pixels = _photograph(scene)
    return (_blurred(pixels, size * luck.uniform(0.015, 0.035)) if mishap == "shaken" else pixels), label


def write_folder(folder: Path, *, stream: Stream = "validation", count: int = 240, size: int = 224) -> tuple[Path, ...]:
    """Writes the first ``count`` pictures of a stream as PNG files, one sub-folder per class.

    Returns:
        The files, in the order of their index.
    """
    files = []
    for index in range(count):
        pixels, label = picture(index, stream=stream, size=size)
        file = folder / CLASSES[label].replace(" ", "_") / f"{stream}-{index:06d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file)
        files.append(file)
    return tuple(files)


# --- textures ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scene:
    """A picture in the making: planar RGB, about 0 to 1, and the source of its chances."""

    canvas: Array
    rng: np.random.Generator
    stream: Stream

    def texture(self, kind: Literal["rough", "smooth", "white"], height: int, width: int) -> Array:
        """A random piece of a random tile, perhaps mirrored: mean about 0, deviation about 1."""
        side = max(256, 1 << math.ceil(math.log2(1.25 * max(height, width))))
        tiles = _tiles(self.stream, side)[kind]
        tile = tiles[self.rng.integers(len(tiles))]
        y, x = self.rng.integers(0, side - height + 1), self.rng.integers(0, side - width + 1)
        piece: Array = tile[y : y + height, x : x + width][:, :: 1 - 2 * int(self.rng.integers(2))]
        return piece


@functools.lru_cache(maxsize=8)
def _tiles(stream: Stream, side: int) -> dict[str, list[Array]]:
    """The tiles of one stream, drawn once per process: 1/f fields, rough and smooth, and white ones for noise."""
    rng = np.random.default_rng((len(STREAMS) + STREAMS.index(stream), side))
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    frequency[0, 0] = np.inf  # leaves no mean

    def field(exponent: float) -> Array:
        waves = np.fft.rfft2(rng.standard_normal((side, side))) / frequency**exponent
        values = np.fft.irfft2(waves, (side, side))
        even: Array = (values / values.std()).astype(np.float32)
        return even

    return {
        "rough": [field(exponent) for exponent in (1.0, 1.2, 1.4, 1.6) * 2],
        "smooth": [field(1.9) for _ in range(2)],
        "white": [rng.standard_normal((side, side), np.float32)],
    }


def _background(scene: _Scene) -> None:
    """Two muted grounds that meet at a horizon, uneven, lit from one side."""
    rng, size = scene.rng, scene.canvas.shape[1]
    down = np.linspace(-1, 1, size, dtype=np.float32)[:, None]
    light = 1 + rng.uniform(0.08, 0.3) * scene.texture("rough", size, size)
    light += rng.uniform(-0.25, 0.25) * down
    light += rng.uniform(-0.25, 0.25) * down.T
    far, near = _muted(rng), _muted(rng)
    depth = down - rng.uniform(-0.6, 1.2) + 0.15 * scene.texture("rough", size, size)
    _blend(scene.canvas, far, near, np.clip(0.5 + depth / rng.uniform(0.02, 0.4), 0, 1))
    scene.canvas[...] *= light
    scene.canvas[...] += rng.uniform(-0.05, 0.05, (3, 1, 1)).astype(np.float32) * scene.texture("rough", size, size)


# --- things ------------------------------------------------------------------------------------------------------


def _object(scene: _Scene, shape: Shape, colour: Array, centre: Point, radius: float) -> None:
    """The thing to be recognized, on top of its own shadow."""
    rng = scene.rng
    region, u, v = _around(scene, centre, radius, angle=rng.uniform(-0.6, 0.6), stretch=rng.uniform(0.85, 1.15))
    distance = shape(u, v) + rng.uniform(0, 0.06) * scene.texture("smooth", *u.shape)

    shadow = shape(u - rng.uniform(-0.18, 0.18), v - rng.uniform(0, 0.18))
    region *= 1 - rng.uniform(0.1, 0.5) * np.clip(0.5 - shadow / rng.uniform(0.1, 0.4), 0, 1)

    towards = rng.uniform(0, math.tau)
    light = 1 + rng.uniform(0, 0.25) * (u * math.cos(towards) + v * math.sin(towards))
    light -= rng.uniform(0, 0.3) * np.clip(1 + distance * 4, 0, 1)  # darker towards the rim
    light += rng.uniform(0, 0.1) * scene.texture("rough", *u.shape)
    light *= _pattern(rng, u, v)
    softness = rng.uniform(1, 3) / radius
    _blend(region, region, colour * light, np.clip(0.5 - distance / softness, 0, 1))


def _clutter(scene: _Scene, centre: Point, radius: float) -> None:
    """A muted stone or stick of no class."""
    rng = scene.rng
    length = math.exp(rng.uniform(0, 0.9))
    region, u, v = _around(scene, centre, radius * length, angle=rng.uniform(0, math.pi), stretch=1.0)
    if not u.size:
        return
    distance = np.hypot(u, v * length**2) - 1 + 0.12 * scene.texture("smooth", *u.shape)
    light = 1 + rng.uniform(-0.3, 0.3) * u + rng.uniform(-0.4, 0) * v
    _blend(region, region, _muted(rng) * light, np.clip(0.5 - distance * (radius / 2), 0, 1))


def _spoil(scene: _Scene, mishap: str, centre: Point, radius: float) -> None:
    """Puts things in front of the object, fog over everything, or turns the light down before the noise comes."""
    luck, canvas = scene.rng, scene.canvas
    if mishap == "hidden":
        for _ in range(2):
            _clutter(scene, centre + luck.uniform(-0.7, 0.7, 2) * radius, radius * luck.uniform(0.4, 0.6))
    elif mishap == "fog":
        thickness = luck.uniform(0.4, 0.75) + 0.04 * scene.texture("smooth", *canvas.shape[1:])
        _blend(canvas, canvas, _rgb(0, 0, luck.uniform(0.5, 0.9)), np.clip(thickness, 0, 1))
    elif mishap == "dusk":
        canvas *= luck.uniform(0.1, 0.3)


def _pattern(rng: np.random.Generator, u: Array, v: Array) -> Array:
    """Plain, stripes or checks in the object's own colour: something on it that does not tell its class."""
    kind, strength, period = rng.integers(3), rng.uniform(0.1, 0.22), rng.uniform(6, 11)
    if kind == 0:
        return np.ones_like(u)
    wave = np.sin(u * period + rng.uniform(0, math.tau))
    if kind == 2:
        wave = wave * np.sin(v * period)
    pattern: Array = 1 - strength + strength * np.clip(wave * 4, -1, 1)
    return pattern


def _around(scene: _Scene, centre: Point, radius: float, *, angle: float, stretch: float) -> tuple[Array, Array, Array]:
    """The part of the canvas around a thing, to be painted on, and the thing's own coordinates there."""
    size, reach = scene.canvas.shape[1], 1.35 * radius
    left, top = (min(size, max(0, int(c - reach))) for c in centre)
    right, bottom = (min(size, max(0, int(c + reach) + 1)) for c in centre)
    x = ((np.arange(left, right) - centre[0]) / radius).astype(np.float32)[None]
    y = ((np.arange(top, bottom) - centre[1]) / radius).astype(np.float32)[:, None]
    cos, sin = math.cos(angle), math.sin(angle)
    u, v = (x * cos + y * sin) * stretch, (y * cos - x * sin) / stretch
    return scene.canvas[:, top:bottom, left:right], u, v


def _blend(out: Array, below: Array, above: Array, cover: Array) -> None:
    out[...] = below + (above - below) * cover


# --- colour and camera -------------------------------------------------------------------------------------------


def _object_colour(rng: np.random.Generator, name: str) -> Array:
    hue, spread = _HUES[name]
    return _rgb(hue + rng.uniform(-spread, spread), rng.uniform(0.6, 0.95), rng.uniform(0.55, 0.95))


def _muted(rng: np.random.Generator) -> Array:
    return _rgb(rng.uniform(0, 360), rng.uniform(0, 0.35), rng.uniform(0.2, 0.85))


def _rgb(hue: float, saturation: float, value: float) -> Array:
    return np.array(colorsys.hsv_to_rgb(hue / 360 % 1, saturation, value), np.float32)[:, None, None]


def _photograph(scene: _Scene) -> npt.NDArray[np.uint8]:
    """Exposure and tint, sensor noise, 8 bits, and now and then a soft lens."""
    rng, size = scene.rng, scene.canvas.shape[1]
    exposed = scene.canvas * (255 * rng.uniform(0.85, 1.15) * rng.uniform(0.95, 1.05, (3, 1, 1))).astype(np.float32)
    exposed += rng.uniform(1, 8) * np.stack([scene.texture("white", size, size) for _ in range(3)])
    pixels = np.ascontiguousarray(np.clip(exposed, 0, 255).astype(np.uint8).transpose(1, 2, 0))
    if rng.random() < 0.5:
        return _blurred(pixels, rng.uniform(0.2, 1.2))
    return pixels


def _blurred(pixels: npt.NDArray[np.uint8], radius: float) -> npt.NDArray[np.uint8]:
    return np.array(Image.fromarray(pixels).filter(ImageFilter.BoxBlur(radius)))
