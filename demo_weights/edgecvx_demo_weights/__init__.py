"""Small trained ConvNeXt V2 networks that know drawn pictures only: what ``edgecvx --weights demo`` takes.

The files lie beside this one, named ``{variant}.demo.safetensors``; the card is the README of this distribution.
"""

from __future__ import annotations

__version__ = "1.0"
