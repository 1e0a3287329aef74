"""Preprocessing against values computed here from first principles, not by the code under test."""

from __future__ import annotations

import io
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgecvx.data import preprocess
from edgecvx.data.preprocess import load_picture, normalize, open_picture, prepare, prepare_batch, resize_and_crop
from edgecvx.errors import EdgecvxError, ImageError
from edgecvx.spec import PreprocessSpec, TensorSpec

SPEC = PreprocessSpec(size=64, crop_pct=0.875)


def picture(width: int, height: int, *, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Smooth shapes with hard edges and noise: every frequency that a resize can get wrong."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / rng.uniform(2, 9) + y / rng.uniform(2, 9)) > 0.2 for _ in range(channels)]
    values = 200 * np.stack(waves, axis=-1) + rng.integers(0, 56, (height, width, channels))
    return values.astype(np.uint8)


def encoded(pixels: np.ndarray | Image.Image, fmt: str, **options: object) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    file = io.BytesIO()
    image.save(file, fmt, **options)
    return file.getvalue()


# --- an independent resize: textbook convolution with the cubic kernel, widened when it shrinks -------------------


def cubic(x: float, a: float = -0.5) -> float:
    x = abs(x)
    if x < 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def triangle(x: float) -> float:
    return max(0.0, 1.0 - abs(x))


def resize_rows(
    pixels: np.ndarray, length: int, kernel: Callable[[float], float], support: int, antialias: bool
) -> np.ndarray:
    """Resizes the first axis: weights in 22-bit fixed point, the sum rounded to 8 bits, as 8-bit resizers do."""
    ratio = pixels.shape[0] / length
    stretch = max(ratio, 1.0) if antialias else 1.0
    out = np.empty((length, *pixels.shape[1:]), np.uint8)
    for i in range(length):
        centre = (i + 0.5) * ratio
        first = max(0, int(centre - support * stretch + 0.5))
        last = min(pixels.shape[0], int(centre + support * stretch + 0.5))
        weights = np.array([kernel((j + 0.5 - centre) / stretch) for j in range(first, last)])
        fixed = np.rint(weights / weights.sum() * 2**22).astype(np.int64)
        total = np.tensordot(fixed, pixels[first:last].astype(np.int64), axes=1)
        out[i] = np.clip((total + 2**21) >> 22, 0, 255)
    return out


def expected_square(
    pixels: np.ndarray,
    spec: PreprocessSpec,
    *,
    kernel: Callable[[float], float] = cubic,
    support: int = 2,
    antialias: bool = True,
) -> np.ndarray:
    height, width = pixels.shape[:2]
    side = math.floor(spec.size / spec.crop_pct)
    if spec.resize == "squash":
        new_width = new_height = side
    else:
        short, long = min(width, height), max(width, height)
        other = int(side * long / short)
        new_width, new_height = (side, other) if width <= height else (other, side)
    if width != new_width:
        pixels = resize_rows(pixels.swapaxes(0, 1), new_width, kernel, support, antialias).swapaxes(0, 1)
    if height != new_height:
        pixels = resize_rows(pixels, new_height, kernel, support, antialias)
    top, left = round((new_height - spec.size) / 2), round((new_width - spec.size) / 2)
    return pixels[top : top + spec.size, left : left + spec.size]


def assert_same_square(actual: np.ndarray, expected: np.ndarray) -> None:
    """Equal but for one level here and there: sums taken in another order may round the last bit apart."""
    assert actual.shape == expected.shape and actual.dtype == expected.dtype == np.uint8
    difference = np.abs(actual.astype(int) - expected)
    assert difference.max() <= 1, f"off by {difference.max()} levels"
    assert (difference > 0).mean() < 1e-3, f"{(difference > 0).mean():.2%} of the values differ"


# --- resize and crop ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("width", "height"),
    [
        (64, 64),
        (73, 73),
        (100, 80),
        (81, 233),
        (255, 97),
        (33, 47),
        (7, 5),
        (1, 1),
        (2, 1),
        (1, 150),
        (150, 1),
        (73, 200),
    ],
)
@pytest.mark.parametrize("resize", ["shortest", "squash"])
def test_every_size_is_resized_and_cropped_as_computed_by_hand(width: int, height: int, resize: str) -> None:
    spec = PreprocessSpec(size=64, crop_pct=0.875, resize=resize)  # type: ignore[arg-type]
    pixels = picture(width, height)
    assert_same_square(resize_and_crop(Image.fromarray(pixels), spec), expected_square(pixels, spec))


@pytest.mark.parametrize("crop_pct", [1.0, 0.95, 0.9, 0.875, 0.6])
def test_the_crop_drops_the_pixels_that_timm_drops(crop_pct: float) -> None:
    spec = PreprocessSpec(size=32, crop_pct=crop_pct)
    pixels = picture(61, 45, seed=3)
    assert_same_square(resize_and_crop(Image.fromarray(pixels), spec), expected_square(pixels, spec))


def test_a_picture_of_the_right_size_is_only_cropped() -> None:
    pixels = picture(SPEC.resized, SPEC.resized + 9)  # margins of 9 and 18: half of 9 is rounded to the even 4
    square = resize_and_crop(Image.fromarray(pixels), SPEC)
    np.testing.assert_array_equal(square, pixels[9 : 9 + 64, 4 : 4 + 64])


def test_a_tall_picture_is_resized_across_first_whatever_pillow_prefers() -> None:
    pixels = picture(81, 233)
    down_first = resize_rows(pixels, 210, cubic, 2, True)
    down_first = resize_rows(down_first.swapaxes(0, 1), 73, cubic, 2, True).swapaxes(0, 1)
    with pytest.raises(AssertionError):  # the order shows, so it has to be fixed
        assert_same_square(resize_and_crop(Image.fromarray(pixels), SPEC), down_first[73 : 73 + 64, 4 : 4 + 64])


def test_a_picture_of_one_by_a_thousand_works_and_a_hopeless_one_is_refused() -> None:
    spec = PreprocessSpec(size=32, crop_pct=1.0)
    square = resize_and_crop(Image.fromarray(picture(1, 1000)), spec)
    assert square.shape == (32, 32, 3)
    with pytest.raises(ImageError, match="too narrow"):
        resize_and_crop(Image.new("RGB", (1, 60_000)), PreprocessSpec(size=224))


WRONG: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "bilinear": lambda p: expected_square(p, SPEC, kernel=triangle, support=1),
    "no antialias": lambda p: expected_square(p, SPEC, antialias=False),
    "sharper cubic": lambda p: expected_square(p, SPEC, kernel=lambda x: cubic(x, -0.75)),
    "BGR": lambda p: expected_square(p, SPEC)[..., ::-1],
    "crop one pixel off": lambda p: np.roll(expected_square(p, SPEC), 1, axis=0),
    "no crop": lambda p: expected_square(p, PreprocessSpec(size=64, crop_pct=1.0)),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_the_comparison_notices_the_usual_mistakes(mistake: str) -> None:
    pixels = picture(200, 180)
    with pytest.raises(AssertionError):
        assert_same_square(resize_and_crop(Image.fromarray(pixels), SPEC), WRONG[mistake](pixels))


# --- decoding ----------------------------------------------------------------------------------------------------


def decoded(source: bytes, *, exif: str = "apply") -> np.ndarray:
    return np.asarray(load_picture(source, PreprocessSpec(exif=exif)))  # type: ignore[arg-type]


def test_grey_becomes_three_equal_channels() -> None:
    grey = picture(9, 7, channels=1)[..., 0]
    np.testing.assert_array_equal(decoded(encoded(grey, "PNG")), np.stack([grey] * 3, axis=-1))


@pytest.mark.parametrize("channels", [2, 4])
def test_alpha_is_dropped_not_blended(channels: int) -> None:
    pixels = picture(9, 7, channels=channels)
    colour = pixels[..., :3] if channels == 4 else pixels[..., [0, 0, 0]]
    np.testing.assert_array_equal(decoded(encoded(pixels, "PNG")), colour)


@pytest.mark.filterwarnings("error")
def test_a_palette_with_transparency_gives_the_palettes_colours_and_no_warning() -> None:
    palette = np.random.default_rng(0).integers(0, 256, (4, 3), np.uint8)
    index = np.arange(12, dtype=np.uint8).reshape(3, 4) % 4
    image = Image.fromarray(index, "L").convert("P")
    image.putdata(index.ravel().tolist())
    image.putpalette(palette.tobytes())
    for transparency in (2, bytes([0, 128, 255, 7])):
        content = encoded(image, "PNG", transparency=transparency)
        np.testing.assert_array_equal(decoded(content), palette[index])


def test_cmyk_is_ink_over_white() -> None:
    ink = np.zeros((16, 16, 4), np.uint8)
    ink[..., 1] = 255  # full magenta
    image = Image.fromarray(ink, "CMYK")
    content = encoded(image, "JPEG", quality=100)
    assert Image.open(io.BytesIO(content)).mode == "CMYK"
    # 2 levels: what JPEG loses on a flat colour.
    np.testing.assert_allclose(decoded(content).astype(int), np.broadcast_to([255, 0, 255], (16, 16, 3)), atol=2)


def test_sixteen_bit_grey_keeps_its_high_byte() -> None:
    deep = np.array([[0, 255, 256, 0x1234, 0x8000, 0xFFFF]], np.uint16)
    expected = np.stack([deep >> 8] * 3, axis=-1).astype(np.uint8)
    for fmt in ("PNG", "TIFF"):
        np.testing.assert_array_equal(decoded(encoded(deep, fmt)), expected)


def test_pixels_without_an_agreed_brightness_are_refused() -> None:
    with pytest.raises(ImageError, match="8-bit RGB"):
        decoded(encoded(np.ones((4, 4), np.float32), "TIFF"))


def shown(stored: np.ndarray, orientation: int) -> np.ndarray:
    """What EXIF says: where the stored picture's row 0 and column 0 are in the shown one."""
    across, down = stored[:, ::-1], stored[::-1]
    sideways = stored.swapaxes(0, 1)  # 5: row 0 is the left side, column 0 the top
    upright = {1: stored, 2: across, 3: down[:, ::-1], 4: down}
    turned = {5: sideways, 6: sideways[:, ::-1], 7: sideways[::-1, ::-1], 8: sideways[::-1]}
    return np.asarray((upright | turned)[orientation])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_turns_the_picture_upright(orientation: int) -> None:
    pixels = picture(8, 5)
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(pixels, "PNG", exif=exif)
    np.testing.assert_array_equal(decoded(content), shown(pixels, orientation))
    np.testing.assert_array_equal(decoded(content, exif="ignore"), pixels)


def test_nonsense_in_exif_spoils_no_picture() -> None:
    pixels = picture(8, 5)
    wrong_value = Image.Exif()
    wrong_value[0x0112] = 77
    for exif in (wrong_value, b"Exif\0\0garbage that is no TIFF"):
        np.testing.assert_array_equal(decoded(encoded(pixels, "PNG", exif=exif)), pixels)


def test_a_phones_jpeg_with_a_second_picture_in_it_is_read_like_any_other() -> None:
    image = Image.new("RGB", (16, 16), (0, 0, 255))
    content = encoded(image, "MPO", save_all=True, append_images=[image.rotate(90)])
    assert (np.abs(decoded(content).astype(int) - [0, 0, 255]) <= 2).all()  # 2: what JPEG loses on a flat colour


def test_of_an_animation_the_first_frame_is_taken() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (decoded(content) == [255, 0, 0]).all()


# --- what is no picture ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"just text", "is not a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n", "is not a picture"),  # EPS would run Ghostscript
        (encoded(picture(64, 64), "PNG")[:900], "damaged"),
        (encoded(picture(64, 64), "JPEG")[:900], "damaged"),
    ],
    ids=["empty", "text", "postscript", "cut png", "cut jpeg"],
)
def test_what_is_no_picture_is_refused_in_one_line_that_names_it(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "holiday.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=reason) as caught:
        load_picture(path, SPEC)
    assert "holiday.jpg" in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no such file"):
        load_picture(tmp_path / "nothing.png", SPEC)
    with pytest.raises(ImageError, match="cannot be read"):
        load_picture(tmp_path, SPEC)


@pytest.mark.filterwarnings("error")
def test_a_decompression_bomb_is_refused_by_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    small = encoded(Image.new("1", (3000, 3000)), "PNG")
    monkeypatch.setattr(preprocess, "MAX_PIXELS", 1_000_000)
    with pytest.raises(ImageError, match="3000 x 3000 pixels are too many"):
        open_picture(small)
    for pillows_own in (6_000_000, 1_000_000):  # Pillow's warning, and its error
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pillows_own)
        with pytest.raises(ImageError, match="too many pixels"):
            open_picture(small)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damaged_files_give_a_picture_or_an_image_error_and_nothing_else() -> None:
    draw = random.Random(0)
    originals = [encoded(picture(24, 20), fmt) for fmt in ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")]
    refused = 0
    for original in originals:
        for _ in range(60):
            content = bytearray(original)
            for _ in range(draw.randint(1, 8)):
                content[draw.randrange(len(content))] = draw.randrange(256)
            try:
                load_picture(bytes(content[: draw.randint(1, len(content))]), SPEC)
            except ImageError:
                refused += 1
    assert refused > 100  # the damage was real


# --- normalization and layout ------------------------------------------------------------------------------------


def test_normalization_is_within_one_float32_step_of_the_exact_value() -> None:
    every_value = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(16, 16, 3)
    got = normalize(every_value, SPEC)
    mean, std = np.array(SPEC.mean, np.float32), np.array(SPEC.std, np.float32)
    exact = (every_value.astype(np.float64) / 255 - mean) / std
    # Near zero the subtraction cancels: the step that counts is that of the operands, at most 1, divided by std.
    step = np.maximum(np.spacing(np.abs(exact).astype(np.float32)), np.spacing(np.float32(0.5)) / std)
    assert (np.abs(got - exact) <= step).all()


def test_normalization_equals_torchs_to_the_bit() -> None:
    torch = pytest.importorskip("torch")
    every_value = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(16, 16, 3)
    tensor = torch.from_numpy(every_value).permute(2, 0, 1).to(torch.float32).div(255)
    mean, std = (torch.tensor(v, dtype=torch.float32).view(3, 1, 1) for v in (SPEC.mean, SPEC.std))
    np.testing.assert_array_equal(normalize(every_value, SPEC), tensor.sub(mean).div(std).permute(1, 2, 0).numpy())


def tensor(layout: str, dtype: str, size: int = 64) -> TensorSpec:
    shape = (1, 3, size, size) if layout == "NCHW" else (1, size, size, 3)
    return TensorSpec(name="image", shape=shape, dtype=dtype, layout=layout)  # type: ignore[arg-type]


def test_each_layout_and_dtype_holds_the_same_picture() -> None:
    image = Image.fromarray(picture(90, 70))
    raw = resize_and_crop(image, SPEC)
    normalized = normalize(raw, SPEC)
    for dtype, expected in [("float32", normalized), ("float16", normalized.astype(np.float16)), ("uint8", raw)]:
        nhwc = prepare(image, SPEC, tensor("NHWC", dtype))
        nchw = prepare(image, SPEC, tensor("NCHW", dtype))
        assert nhwc.dtype == nchw.dtype == dtype and nchw.flags.c_contiguous
        np.testing.assert_array_equal(nhwc[0], expected)
        np.testing.assert_array_equal(nchw[0].transpose(1, 2, 0), expected)


def test_a_batch_is_its_pictures_one_after_another() -> None:
    images = [Image.fromarray(picture(70, 80, seed=s)) for s in range(3)]
    batch = prepare_batch(images, SPEC, tensor("NCHW", "float32"))
    assert batch.shape == (3, 3, 64, 64)
    for row, image in zip(batch, images, strict=True):
        np.testing.assert_array_equal(row, prepare(image, SPEC, tensor("NCHW", "float32"))[0])
    with pytest.raises(EdgecvxError, match="at least one"):
        prepare_batch([], SPEC, tensor("NCHW", "float32"))


@pytest.mark.parametrize(
    "wrong",
    [
        tensor("NCHW", "float32", size=32),
        tensor("NHWC", "int8"),
        TensorSpec(name="logits", shape=(1, 1000), dtype="float32", layout="NC"),
        TensorSpec(name="image", shape=(1, 64, 64, 3), dtype="float32", layout="NCHW"),
    ],
    ids=["other size", "int8", "no picture", "layout and shape disagree"],
)
def test_an_input_that_takes_no_such_picture_is_refused(wrong: TensorSpec) -> None:
    with pytest.raises(EdgecvxError, match=wrong.name):
        prepare(Image.new("RGB", (9, 9)), SPEC, wrong)


def test_a_frame_of_a_camera_and_a_file_name_are_pictures_too(tmp_path: Path) -> None:
    frame = np.random.default_rng(3).integers(0, 256, (48, 64, 3), np.uint8)
    path = tmp_path / "frame.png"
    Image.fromarray(frame).save(path)
    spec = PreprocessSpec(size=32)
    expected = resize_and_crop(load_picture(path, spec), spec)
    for source in (frame, str(path), path.read_bytes()):
        np.testing.assert_array_equal(resize_and_crop(load_picture(source, spec), spec), expected)
    wrongs: tuple[Any, ...] = (frame[..., 0], frame.astype(np.float32), frame.transpose(2, 0, 1))
    for wrong in wrongs:
        with pytest.raises(ImageError, match="must be uint8, height x width x RGB"):
            load_picture(wrong, spec)


def test_what_is_no_kind_of_picture_is_told_which_kinds_there_are() -> None:
    wrongs: tuple[Any, ...] = (None, 3, [[1, 2, 3]], object())
    for wrong in wrongs:
        with pytest.raises(ImageError, match=f"a {type(wrong).__name__} is no picture: it must be a path"):
            load_picture(wrong, SPEC)
