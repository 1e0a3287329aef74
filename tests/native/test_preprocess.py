"""The native engine's pictures against the product's own, which are Pillow's and numpy's: every bit, or it is wrong."""

from __future__ import annotations

import ctypes
import dataclasses
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import edgecvx
from edgecvx.board import pictures
from edgecvx.board.preprocess import Preprocess
from edgecvx.spec import IMAGENET_MEAN, IMAGENET_STD

ENGINE = Path(edgecvx.__file__).parent / "native" / "engine"
FILTERS = ("nearest", "bilinear", "bicubic", "lanczos")
RESIZES = ("shortest", "squash")
STRICT = ("-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic")
DTYPES = (np.float32, np.uint8)  # by their number in the file

Pixels = NDArray[np.uint8]
Case = tuple[Preprocess, Pixels]

SOURCE = '#include "preprocess.c"\n'

PROBE = """
#include <stdlib.h>
static long left = -1; /* allocations that succeed; without end below 0 */
static size_t held;
static void *scarce(size_t bytes) {
    if (left == 0) return NULL;
    left -= left > 0;
    held += bytes;
    return malloc(bytes);
}
#define malloc scarce
#include "preprocess.c"
void allow(long allocations) { left = allocations; held = 0; }
size_t allocated(void) { return held; }
int weights(int32_t length, int32_t resized, int32_t interpolation, int32_t *out) { /* [resized][length], zeros */
    axis a;
    if (make_axis(&a, length, resized, resized, interpolation)) return 1;
    for (int32_t i = 0; i < resized; i++)
        for (int32_t t = 0; t < a.count[i]; t++) out[i * length + a.first[i] + t] = get_weight(&a, i, t);
    close_axis(&a);
    return 0;
}
"""
"""What the interface does not show: the weights, and what happens when memory runs out."""

PROGRAM = """
#include <stdio.h>
#include "PROBE"
int main(void) { /* cases on stdin, answers on stdout: a number and [size][size][3], or a number other than 0 */
    ecvx_preprocessing how;
    int32_t about[3]; /* width, height, type */
    while (fread(&how, sizeof how, 1, stdin) && fread(about, sizeof about, 1, stdin)) {
        size_t bytes = (size_t)about[0] * (size_t)about[1] * 3;
        size_t room = (size_t)how.size * (size_t)how.size * (about[2] == ECVX_UINT8 ? 3 : 12);
        uint8_t *rgb = (malloc)(bytes);
        void *out = (malloc)(room);
        int32_t failed = fread(rgb, 1, bytes, stdin) != bytes;
        for (long tries = 0; tries < 8 && !failed; tries++) {
            char error[ECVX_ERROR];
            allow(tries < 7 ? tries : -1);
            failed = ecvx_picture(&how, rgb, about[0], about[1], about[2], out, error) && tries == 7;
        }
        fwrite(&failed, sizeof failed, 1, stdout);
        if (!failed) fwrite(out, 1, room, stdout);
        free(rgb);
        free(out);
    }
    return 0;
}
"""


class How(ctypes.Structure):
    """``ecvx_preprocessing``."""

    _fields_ = (
        *((name, ctypes.c_int32) for name in ("size", "resize", "interpolation")),
        ("crop_pct", ctypes.c_double),
        *((name, ctypes.c_double * 3) for name in ("mean", "std")),
    )


def spec(size: int = 32, crop: float = 0.875, resize: str = "shortest", interpolation: str = "bicubic") -> Preprocess:
    return Preprocess(size, crop, resize, interpolation, IMAGENET_MEAN, IMAGENET_STD, color="RGB", exif="ignore")


def picture(rng: np.random.Generator, height: int, width: int) -> Pixels:
    """Noise as far as the bytes go, so that filters overshoot at both ends."""
    noise = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return np.where(rng.random((height, width, 1)) < 0.5, noise // 128 * 255, noise).astype(np.uint8)


def compiler() -> list[str]:
    if gcc := shutil.which("gcc"):
        return [gcc]
    if find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "cc"]
    pytest.skip("there is no C compiler")


def build(folder: Path, source: str, *options: str) -> Path:
    """Compiles a text, which finds the engine's files (or the folder's own, if it has some of these names)."""
    (folder / "source.c").write_text(source)
    target = folder / "built"
    command = [*compiler(), *options, f"-I{folder}", f"-I{ENGINE}", str(folder / "source.c"), "-o", str(target)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return target


def break_engine(folder: Path, right: str, wrong: str) -> None:
    """Puts a source with one difference where ``build`` finds it first."""
    source = (ENGINE / "preprocess.c").read_text()
    assert source.count(right) == 1
    (folder / "preprocess.c").write_text(source.replace(right, wrong))


def library(folder: Path, source: str, *options: str) -> ctypes.CDLL:
    return ctypes.CDLL(str(build(folder, source, "-shared", "-fPIC", *options)))


def how_of(spec: Preprocess) -> How:
    numbers = (spec.size, RESIZES.index(spec.resize), FILTERS.index(spec.interpolation))
    return How(*numbers, spec.crop_pct, tuple(spec.mean), tuple(spec.std))


def ask(
    engine: ctypes.CDLL, how: How, pixels: Pixels, shape: tuple[int, int] | None = None, kind: int = 1
) -> NDArray[Any]:
    """What the engine makes of a picture, whose height and width may be lied about.

    Raises:
        ValueError: With the engine's sentence.
    """
    side, (height, width) = min(max(how.size, 1), 2048), shape or pixels.shape[:2]
    out = np.full((side, side, 3), 77, DTYPES[kind % 2])
    error = ctypes.create_string_buffer(256)
    memory = (pixels.ctypes.data_as(ctypes.c_void_p), width, height, kind, out.ctypes.data_as(ctypes.c_void_p))
    if engine.ecvx_picture(ctypes.byref(how), *memory, error):
        raise ValueError(error.value.decode())
    return out


def expected(case: Case) -> list[NDArray[Any]]:
    """The product's own answer in each type, by its number in the file."""
    spec, pixels = case
    cropped = pictures.resize_and_crop(Image.fromarray(pixels), spec)
    return [pictures.normalize(cropped, spec), cropped]


def unequal(engine: ctypes.CDLL, cases: list[Case]) -> Iterator[str]:
    """The cases in which a bit differs from the product's own picture, in words."""
    for case in cases:
        for kind, wanted in enumerate(expected(case)):
            if ask(engine, how_of(case[0]), case[1], kind=kind).tobytes() != wanted.tobytes():
                yield f"{case[1].shape}, {wanted.dtype}, {case[0]}"


def edges() -> list[Case]:
    """The least, the slim, those that need no resize on an axis or on both, and every rest that a crop can leave."""
    rng = np.random.default_rng(1)
    shapes = [(1, 1), (1, 40), (40, 1), (7, 5000), (5000, 7), (32, 32), (36, 36), (36, 90), (90, 36), (72, 36)]
    shapes += [(36, 36 + rest) for rest in range(5)] + [(72 + 2 * rest, 72) for rest in range(5)]
    specs = [spec(32, crop, resize, name) for crop in (0.875, 1.0) for resize in RESIZES for name in FILTERS]
    return [(how, picture(rng, *shape)) for shape in shapes for how in specs]


def seeded(count: int, seed: int = 2) -> list[Case]:
    """Pictures from a pixel to a small photo, every filter and mode, the sizes and crops in use."""
    rng = np.random.default_rng(seed)
    cases = []
    for number in range(count):
        size, crop = int(rng.choice([32, 32, 96, 96, 224, 288])), float(rng.choice([0.1, 0.5, 0.875, 0.9, 0.95, 1.0]))
        height, width = (int(side) for side in np.exp(rng.uniform(2.5, 6.2, 2)))
        how = spec(size, crop if size < 200 else max(crop, 0.5), RESIZES[number // 4 % 2], FILTERS[number % 4])
        mean, std = rng.uniform(-1, 1, 3), rng.uniform(0.01, 3, 3)
        how = dataclasses.replace(how, mean=tuple(mean.tolist()), std=tuple(std.tolist()))
        cases.append((how, picture(rng, height, width)))
    return cases


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return library(tmp_path_factory.mktemp("engine"), SOURCE, "-O3", *STRICT)


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    built = library(tmp_path_factory.mktemp("probe"), PROBE, "-O2")
    built.allow.argtypes, built.allocated.restype = [ctypes.c_long], ctypes.c_size_t
    return built


def test_edge_cases_are_those_of_pillow(engine: ctypes.CDLL) -> None:
    assert not list(unequal(engine, edges()))


def test_any_picture_is_the_one_of_pillow_and_numpy(engine: ctypes.CDLL) -> None:
    assert not list(unequal(engine, seeded(400)))


def test_a_photo_is_the_one_of_pillow(engine: ctypes.CDLL) -> None:
    photo = picture(np.random.default_rng(3), 1500, 2000)
    assert not list(unequal(engine, [(spec(224, interpolation=name), photo) for name in FILTERS]))


def test_a_compiler_that_would_contract_does_not(tmp_path: Path) -> None:
    """With this machine's own instructions, and in the dialect in which GCC rounds a * b + c once."""
    native = "-mcpu=native" if platform.machine() in ("aarch64", "arm64") else "-march=native"
    built = library(tmp_path, SOURCE, "-O3", "-std=gnu11", native)
    assert not list(unequal(built, edges() + seeded(100)))


BROKEN = {
    "a sum's half": ("HALF = ONE / 2,", "HALF = ONE / 2 - 1,"),
    "a weight's half": ("weight + 0.5)", "weight + 0.4)"),
    "the crop's half": ("half + half % 2 :", "half :"),
    "the middle of a pixel": ("- centre + 0.5)", "- centre + 0.499)"),
    "the middle of a picked pixel": ("at = step * 0.5;", "at = 0;"),
    "a division": ("/ 255.0f", "* (1 / 255.0f)"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_constant_that_is_a_little_off_is_noticed(name: str, tmp_path: Path) -> None:
    break_engine(tmp_path, *BROKEN[name])
    broken = library(tmp_path, SOURCE, "-O1")
    found = next(unequal(broken, edges() + seeded(100)), None)
    assert found


def weights_of_pillow(length: int, resized: int, interpolation: str) -> NDArray[np.int32]:
    """Pillow's weights, by itself: what becomes of rows that hold one pixel of 2^22 in 32-bit integers."""
    rows = Image.fromarray(np.eye(length, dtype=np.int32) << 22)
    resampling = Image.Resampling[interpolation.upper()]
    weights: NDArray[np.int32] = np.asarray(rows.resize((resized, length), resampling)).T
    return weights


def weights_of_engine(probe: ctypes.CDLL, length: int, resized: int, interpolation: str) -> NDArray[np.int32]:
    out = np.zeros((resized, length), np.int32)
    assert not probe.weights(length, resized, FILTERS.index(interpolation), out.ctypes.data_as(ctypes.c_void_p))
    return out


def lengths() -> list[tuple[int, int]]:
    rng = np.random.default_rng(4)
    return [(3000, 256), (1920, 341), (640, 32), (2, 96), *(map(tuple, rng.integers(1, 500, (40, 2)).tolist()))]


@pytest.mark.parametrize("interpolation", FILTERS)
def test_all_weights_are_those_of_pillow(probe: ctypes.CDLL, interpolation: str) -> None:
    """Also where no pixel would show it; lanczos from a sine of our own."""
    for pair in lengths():
        wanted = weights_of_pillow(*pair, interpolation)
        np.testing.assert_array_equal(weights_of_engine(probe, *pair, interpolation), wanted, str(pair))


def test_a_sine_that_is_a_little_off_gives_other_weights(tmp_path: Path) -> None:
    break_engine(tmp_path, "1 / 6227020800.0", "0")
    broken, wanted = library(tmp_path, PROBE, "-O1"), weights_of_pillow(640, 32, "lanczos")
    assert (weights_of_engine(broken, 640, 32, "lanczos") != wanted).any()


REFUSED: dict[str, tuple[dict[str, Any], tuple[int, int], int, str]] = {
    "no width": ({}, (5, 0), 1, "0 x 5 pixels are no picture"),
    "negative": ({}, (-2147483648, 7), 1, "7 x -2147483648 pixels are no picture"),
    "long": ({}, (65536, 1), 1, "1 x 65536 pixels are too many, at most 65535 are read along a side"),
    "large": ({}, (65535, 4097), 1, "4097 x 65535 pixels are too many, at most 268435456 are read"),
    "size": ({"size": 2049}, (1, 1), 1, "the size of an input must lie between 32 and 2048, got 2049"),
    "no size": ({"size": -1}, (1, 1), 1, "the size of an input must lie between 32 and 2048, got -1"),
    "resize": ({"resize": 2}, (1, 1), 1, "resize must be 0 (shortest) or 1 (squash), got 2"),
    "filter": (
        {"interpolation": 4},
        (1, 1),
        1,
        "interpolation must be 0 (nearest), 1 (bilinear), 2 (bicubic) or 3 (lanczos), got 4",
    ),
    "crop": ({"crop_pct": 1.01}, (1, 1), 1, "crop_pct must lie between 0.1 and 1"),
    "no number": ({"crop_pct": float("nan")}, (1, 1), 1, "crop_pct must lie between 0.1 and 1"),
    "type": ({}, (1, 1), 3, "an input is of type 0 (float32) or 1 (uint8), got 3"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_file_and_no_picture_can_be_is_refused_in_one_sentence(engine: ctypes.CDLL, name: str) -> None:
    changes, shape, kind, sentence = REFUSED[name]
    how, pixels = how_of(spec()), np.zeros((1, 1, 3), np.uint8)
    for field, value in changes.items():
        setattr(how, field, value)
    with pytest.raises(ValueError) as refused:
        ask(engine, how, pixels, shape, kind)
    assert str(refused.value) == sentence
    assert engine.ecvx_picture(ctypes.byref(how), None, shape[1], shape[0], kind, None, None)  # who wants no sentence


def test_a_picture_too_narrow_for_the_product_is_too_narrow_here(engine: ctypes.CDLL) -> None:
    slim = np.zeros((5000, 1, 3), np.uint8)
    with pytest.raises(pictures.PictureError) as wanted:
        pictures.resize_and_crop(Image.fromarray(slim), spec(224))
    with pytest.raises(ValueError) as refused:
        ask(engine, how_of(spec(224)), slim)
    assert str(refused.value) == str(wanted.value)


def test_too_little_memory_is_said(probe: ctypes.CDLL) -> None:
    photo = np.zeros((50, 60, 3), np.uint8)
    for allocations in range(5):
        probe.allow(allocations)
        with pytest.raises(ValueError, match="there is no memory left to resize a picture"):
            ask(probe, how_of(spec()), photo)
    probe.allow(-1)
    ask(probe, how_of(spec()), photo)


@pytest.mark.parametrize(("size", "height", "width"), [(32, 16, 65535), (32, 65535, 16), (2048, 16, 65535)])
def test_the_longest_side_takes_a_few_megabytes(probe: ctypes.CDLL, size: int, height: int, width: int) -> None:
    probe.allow(-1)
    ask(probe, how_of(spec(size, 1.0, "squash", "lanczos")), np.zeros((height, width, 3), np.uint8))
    assert probe.allocated() < 8 << 20


def test_nothing_is_needed_that_a_browser_lacks(tmp_path: Path) -> None:
    if not (nm := shutil.which("nm")):
        pytest.skip("there is no nm")
    built = build(tmp_path, SOURCE, "-c", "-O3", *STRICT)
    listed = subprocess.run([nm, "-u", str(built)], capture_output=True, text=True, check=True).stdout
    names = {line.split()[-1].lstrip("_") for line in listed.splitlines()}
    assert names - {"GLOBAL_OFFSET_TABLE_"} <= {"malloc", "free", "memcpy", "memset"}


def sanitized(folder: Path) -> Path:
    """The engine in a program of its own that ends when it touches memory or computes a number that it must not."""
    options = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    if not (gcc := shutil.which("gcc")):  # zig takes the option and has no such library
        pytest.skip("there is no gcc")
    empty = [gcc, *options, "-x", "c", "-", "-o", str(folder / "empty")]
    if subprocess.run(empty, input=b"int main(void) { return 0; }", capture_output=True).returncode:
        pytest.skip("gcc is here without its sanitizers")
    (folder / "PROBE").write_text(PROBE)
    return build(folder, PROGRAM, *options)


def run_cases(program: Path, cases: list[Case]) -> subprocess.CompletedProcess[bytes]:
    content = bytearray()
    for number, (how, pixels) in enumerate(cases):
        height, width = pixels.shape[:2]
        content += bytes(how_of(how)) + np.array([width, height, number % 2], np.int32).tobytes() + pixels.tobytes()
    return subprocess.run([str(program)], input=bytes(content), capture_output=True, timeout=120)


def test_sanitizers_find_nothing_also_when_memory_runs_out(tmp_path: Path) -> None:
    cases = edges()[::3] + seeded(60, seed=5)
    done = run_cases(sanitized(tmp_path), cases)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    wanted = [bytes(4) + expected(case)[number % 2].tobytes() for number, case in enumerate(cases)]
    assert done.stdout == b"".join(wanted)


def test_sanitizers_would_find_a_row_without_room(tmp_path: Path) -> None:
    break_engine(tmp_path, "((size_t)w->depth + 1) * width", "(size_t)w->depth * width")
    done = run_cases(sanitized(tmp_path), edges()[:40])
    assert done.returncode
    assert b"heap-buffer-overflow" in done.stderr
