"""A picture's pixels in a browser are those that Pillow reads, to the bit, for all that Chromium and Firefox decode."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from browsing import Browser, Tab
from firefox import Browser as Firefox
from numpy.typing import NDArray
from PIL import Image
from site_server import POLICY, serve
from web_sites import SITE

from edgecvx.board import pictures

DRAW = np.random.default_rng(0)
FILES: dict[str, bytes] = {}
"""Of the site, beside pictures.js; a test adds its own."""
READ = """
(async () => {
  const { pixels } = await import("./pictures.js");
  try {
    const { rgb, width, height } = await pixels(SOURCE);
    let text = "";
    for (let i = 0; i < rgb.length; i += 32768) text += String.fromCharCode(...rgb.subarray(i, i + 32768));
    return { rgb: btoa(text), width, height };
  } catch (error) {
    return { sentence: error.message };
  }
})()
"""


@pytest.fixture(scope="module")
def tab(either: Browser[Tab]) -> Iterator[Tab]:
    FILES.update(
        {
            "index.html": b"<!doctype html><meta charset=utf-8>",
            "favicon.ico": b"",
            "pictures.js": (SITE / "pictures.js").read_bytes(),
        }
    )
    with serve(FILES, headers={"Content-Security-Policy": POLICY}) as url:
        tab = either.open(url)
        tab.wait("document.readyState === 'complete'")
        yield tab
        assert tab.console == []
        tab.close()


def read(tab: Tab, content: bytes) -> NDArray[np.uint8]:
    """A file's pixels as the browser has them."""
    FILES["picture"] = content
    return pixels(tab.run(READ.replace("SOURCE", "await (await fetch('picture')).blob()")))


def pixels(found: dict[str, Any]) -> NDArray[np.uint8]:
    assert "sentence" not in found, found
    return np.frombuffer(base64.b64decode(found["rgb"]), np.uint8).reshape(found["height"], found["width"], 3)


def pillow(content: bytes) -> NDArray[np.uint8]:
    """The product's own way."""
    opened = Image.open(io.BytesIO(content))
    return np.asarray(pictures.upright(pictures.rgb(opened), pictures.orientation(opened)))


def encoded(array: Any, kind: str, mode: str | None = None, **options: Any) -> bytes:
    stream, image = io.BytesIO(), array if isinstance(array, Image.Image) else Image.fromarray(array)
    (image if mode is None else image.convert(mode)).save(stream, kind, **options)
    return stream.getvalue()


def noise(*shape: int, kind: Any = np.uint8) -> Any:
    return DRAW.integers(0, np.iinfo(kind).max, shape, kind, endpoint=True)


def photo(width: int, height: int) -> Image.Image:
    """Soft shapes, as in a photograph."""
    return Image.fromarray(noise(12, 16, 3)).resize((width, height), Image.Resampling.BICUBIC)


def palette(**options: Any) -> bytes:
    return encoded(photo(53, 37).quantize(17), "PNG", **options)


EXACT: dict[str, Callable[[], bytes]] = {
    "rgb": lambda: encoded(noise(37, 53, 3), "PNG"),
    "one pixel": lambda: encoded(noise(1, 1, 3), "PNG"),
    "a row": lambda: encoded(noise(1, 4099, 3), "PNG"),
    "a column": lambda: encoded(noise(4099, 1, 3), "PNG"),
    "in tiles, across": lambda: encoded(noise(20, 4100, 3), "PNG"),
    "in tiles, down": lambda: encoded(noise(4100, 20, 3), "PNG"),
    "alpha": lambda: encoded(noise(37, 53, 4), "PNG"),
    "alpha in tiles": lambda: encoded(noise(20, 4100, 4), "PNG"),
    "grey": lambda: encoded(noise(37, 53), "PNG"),
    "grey and alpha": lambda: encoded(noise(37, 53, 4), "PNG", "LA"),
    "grey of 16 bits": lambda: encoded(noise(37, 53, kind=np.uint16), "PNG"),
    "black and white": lambda: encoded(noise(37, 53), "PNG", "1"),
    "palette": palette,
    "palette with a transparent colour": lambda: palette(transparency=3),
    "palette of transparencies": lambda: palette(transparency=bytes(range(0, 170, 10))),
    "a profile that is ignored": lambda: encoded(noise(37, 53, 3), "PNG", icc_profile=odd_profile()),
    "gif": lambda: encoded(photo(53, 37).quantize(40), "GIF"),
    "webp": lambda: encoded(photo(53, 37), "WEBP", quality=80),
    "webp with alpha": lambda: encoded(noise(37, 53, 4), "WEBP", lossless=True, exact=True),
    "bmp": lambda: encoded(noise(37, 53, 3), "BMP"),
    "jpeg": lambda: encoded(photo(301, 203), "JPEG", quality=90),
    "jpeg of noise, coarse": lambda: encoded(noise(37, 53, 3), "JPEG", quality=40),
    "jpeg 4:4:4": lambda: encoded(photo(301, 203), "JPEG", quality=95, subsampling=0),
    "jpeg 4:2:2": lambda: encoded(photo(301, 203), "JPEG", quality=80, subsampling=1),
    "progressive jpeg": lambda: encoded(photo(301, 203), "JPEG", quality=80, progressive=True),
    "grey jpeg": lambda: encoded(photo(301, 203), "JPEG", "L"),
    "cmyk jpeg": lambda: encoded(photo(301, 203), "JPEG", "CMYK"),
    "jpeg with a profile that is ignored": lambda: encoded(photo(301, 203), "JPEG", icc_profile=odd_profile()),
}


def odd_profile() -> bytes:
    """A colour space that swaps red and green."""
    from PIL import ImageCms

    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = profile.index(b"rXYZ"), profile.index(b"gXYZ")
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(profile)


@pytest.mark.parametrize("kind", EXACT)
def test_every_kind_is_pillows_to_the_bit(tab: Tab, either: Browser[Tab], kind: str) -> None:
    content = EXACT[kind]()
    found, wanted = read(tab, content), pillow(content)
    assert found.shape == wanted.shape
    off = int(np.abs(found.astype(int) - wanted).max())
    assert off == ROUNDED.get(kind, 0) * isinstance(either, Firefox)


ROUNDED = {"grey of 16 bits": 1}
"""What Firefox makes of 16 bits is the nearest of 8; Pillow, and Chromium, drop the lower half."""
NO_TEXTURE = ('.getContext("webgl2")', '.getContext("bitmaprenderer") && null')
NO_FRAME = ('"VideoFrame" in globalThis', "false")


@pytest.mark.parametrize("lacks", [(), (NO_FRAME,), (NO_TEXTURE,), (NO_TEXTURE, NO_FRAME)])
def test_without_textures_and_frames_the_colours_of_transparent_pixels_are_off(
    either: Browser[Tab], lacks: tuple[tuple[str, str], ...]
) -> None:
    """A canvas multiplies them by their alpha, and so does a frame of Chromium's. What is opaque stays exact."""
    script = (SITE / "pictures.js").read_text()
    for name, instead in lacks:
        assert name in script
        script = script.replace(name, instead)
    with serve({"index.html": b"<!doctype html><meta charset=utf-8>", "pictures.js": script.encode()}) as url:
        tab = either.open(url)
        tab.wait("document.readyState === 'complete'")
        has_texture = NO_TEXTURE not in lacks and tab.run("!!new OffscreenCanvas(1, 1).getContext('webgl2')")
        has_frame = NO_FRAME not in lacks and isinstance(either, Firefox)
        for kind in ("rgb", "alpha", "alpha in tiles"):
            content = EXACT[kind]()
            text = base64.b64encode(content).decode()
            found = pixels(asked(tab, f"await (await fetch('data:image/png;base64,{text}')).blob()"))
            opaque, wanted = is_opaque(content), pillow(content)
            assert np.array_equal(found, wanted) == (has_texture or has_frame or opaque.all())
            assert np.array_equal(found[opaque], wanted[opaque])
        tab.close()


def is_opaque(content: bytes) -> NDArray[np.bool_]:
    alpha: NDArray[np.uint8] = np.asarray(Image.open(io.BytesIO(content)).convert("RGBA"))[..., 3]
    return np.equal(alpha, 255)


def test_a_part_of_a_picture_is_that_part(tab: Tab) -> None:
    content = FILES["picture"] = EXACT["alpha"]()
    part = "await createImageBitmap(await (await fetch('picture')).blob(), 5, 7, 20, 10, { premultiplyAlpha: 'none' })"
    found, wanted = pixels(asked(tab, part)), pillow(content)[7:17, 5:25]
    opaque = is_opaque(content)[7:17, 5:25]
    assert found.shape == wanted.shape and np.array_equal(found[opaque], wanted[opaque])


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_photo_is_turned_the_way_its_exif_says(tab: Tab, kind: str) -> None:
    seen = set()
    for turned in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = turned
        content = encoded(photo(48, 32), kind, exif=exif)
        found = read(tab, content)
        assert np.array_equal(found, pillow(content)), turned
        seen.add((found.shape, turned))
    assert {shape for shape, _ in seen} == {(32, 48, 3), (48, 32, 3)}


DRAWN = {
    "a bitmap": "await createImageBitmap(blob)",
    "an image": "image",
    "a canvas": "canvas",
    "data": "data",
    "a frame": "new VideoFrame(await createImageBitmap(blob), { timestamp: 0 })",
}


@pytest.mark.parametrize("kind", DRAWN)
def test_what_is_drawn_on_the_page_is_a_picture_too(tab: Tab, kind: str) -> None:
    content = FILES["picture"] = encoded(noise(20, 30, 3), "PNG")
    rgba = np.dstack([pillow(content), np.full((20, 30), 255, np.uint8)]).ravel().tolist()
    before = f"""
      const blob = await (await fetch("picture")).blob();
      const image = new Image();
      image.src = "picture?{kind}"; // a page asks for a picture of one address once
      await image.decode();
      const data = new ImageData(new Uint8ClampedArray({rgba}), 30);
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [30, 20];
      canvas.getContext("2d").putImageData(data, 0, 0);
    """
    assert np.array_equal(pixels(asked(tab, DRAWN[kind], before)), pillow(content))


def test_what_is_the_callers_stays_the_callers(tab: Tab) -> None:
    FILES["picture"] = encoded(noise(20, 30, 3), "PNG")
    script = """
      (async () => {
        const { pixels, portable } = await import("./pictures.js");
        const bitmap = await createImageBitmap(await (await fetch("picture")).blob());
        const first = await pixels(bitmap), second = await pixels(bitmap);
        const { source, transfer } = await portable(bitmap);
        return [bitmap.width, first.rgb.join() === second.rgb.join(), source === bitmap, transfer.length];
      })()"""
    assert tab.run(script) == [30, True, True, 0]


def asked(tab: Tab, source: str, before: str = "") -> Any:
    return tab.run(f"(async () => {{ {before} return await {READ.replace('SOURCE', source).strip()}; }})()")


def test_what_is_no_picture_is_said_in_a_sentence(tab: Tab) -> None:
    unreadable = "cannot be read: it is damaged, not there yet, or of a kind this browser does not know"
    assert asked(tab, "new Blob(['no picture'])")["sentence"] == f"the picture {unreadable}"
    assert asked(tab, "new File(['no picture'], 'cat.jpg')")["sentence"] == f"cat.jpg {unreadable}"
    assert asked(tab, "document.createElement('video')")["sentence"] == f"the picture {unreadable}"
    for source, named in (
        ("'cat.jpg'", "cat.jpg"),
        ("undefined", "undefined"),
        ("new Response()", "[object Response]"),
    ):
        assert asked(tab, source)["sentence"].startswith(f"{named} is no picture: give a Blob")
    large = """
      const honest = createImageBitmap;
      const close = () => (globalThis.createImageBitmap = honest);
      globalThis.createImageBitmap = async () => ({ width: 1e5, height: 1e5, close });
    """
    found = asked(tab, "new Blob([])", large)["sentence"]
    assert found == "the picture has 100000 x 100000 pixels: at most 89478485 are read"


FALSE = "(async () => (await import('./pictures.js')).falsified())()"


def test_a_browser_that_changes_pixels_is_noticed(either: Browser[Tab]) -> None:
    with serve(FILES) as url:
        tab = either.open(url)
        tab.wait("document.readyState === 'complete'")
        assert tab.run(FALSE) is None
        tab.run("""(() => {
          const honest = OffscreenCanvasRenderingContext2D.prototype.getImageData;
          OffscreenCanvasRenderingContext2D.prototype.getImageData = function (...where) {
            const read = honest.apply(this, where);
            read.data[1001] ^= 1;
            return read;
          };
        })()""")
        sentence = tab.run(FALSE)
        assert (
            sentence.startswith("This browser changes pixels that a page reads (1 of 16384 bytes)")
            and "Brave" in sentence
        )
        tab.close()
