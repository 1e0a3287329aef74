"""Draws the icons of a site's page as PNG, from the live page's ``icon.svg``: phones take no drawing.

After a change of the drawing: ``python tools/icons.py``.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw

SITE = Path(__file__).parents[1] / "edgecvx" / "web" / "site"
SIDE, CORNER, BLUE = 32, 8, (0x2C, 0x5F, 0xA3)
BARS = ((7, 8, 18, 4, 1.0), (7, 14, 11, 4, 0.75), (7, 20, 6, 4, 0.5))
"""x, y, width, height and opacity of each, on a side of 32."""
FINE = 8
"""Each pixel is the mean of as many squared."""
SAFE = 0.9
"""A phone cuts a maskable icon as it likes, and shows at least the circle with four fifths of its side."""


def icon(size: int, *, maskable: bool = False) -> Image.Image:
    """The icon as a palette picture; a maskable one fills its square, the bars nearer to its middle."""
    side = size * FINE
    picture = Image.new("RGBA", (side, side))
    draw = ImageDraw.Draw(picture)
    draw.rounded_rectangle((0, 0, side, side), 0 if maskable else CORNER / SIDE * side, BLUE)
    part = SAFE if maskable else 1.0
    for x, y, width, height, opacity in BARS:
        colour = tuple(round(opacity * 255 + (1 - opacity) * channel) for channel in BLUE)
        corners = (side * (0.5 + part * (value / SIDE - 0.5)) for value in (x, y, x + width, y + height))
        draw.rounded_rectangle(tuple(corners), part * height / 2 / SIDE * side, colour)
    return picture.resize((size, size), Image.Resampling.BOX).quantize(32, method=Image.Quantize.FASTOCTREE)


def main() -> None:
    """Writes all of them."""
    icon(192).save(SITE / "icon-192.png", optimize=True)
    icon(512).save(SITE / "icon-512.png", optimize=True)
    icon(512, maskable=True).save(SITE / "icon-maskable-512.png", optimize=True)


if __name__ == "__main__":
    main()
