"""Small pictures for a report, of those behind the biggest losses."""

from __future__ import annotations

import dataclasses
import io
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from PIL import Image

from edgecvx.data.dataset import DEMO, drawn_sample
from edgecvx.data.preprocess import PictureSource, load_picture, resize_and_crop
from edgecvx.errors import EdgecvxError
from edgecvx.results.accuracy import Validation
from edgecvx.spec import PreprocessSpec

SIDE = 192
"""Pixels; a picture of this size is some 8 kB in the page."""
_DRAWN = re.compile(r"demo/validation/(\d+)")


def thumbnails(validation: Validation, data: str | Path) -> Mapping[str, bytes]:
    """Picture name -> a small JPEG of what the network saw, for every picture that a report names as a loss.

    Args:
        validation: What was measured.
        data: The folder it was measured on, or ``demo``.

    Returns:
        No entry for a picture that cannot be read any more.
    """
    made: dict[str, bytes] = {}
    for outcome in validation.artifacts:
        spec = PreprocessSpec() if outcome.reference is None else outcome.reference.preprocess
        for loss in outcome.losses:
            source = _source(loss.picture, data, spec)
            if loss.picture not in made and source is not None:
                try:
                    made[loss.picture] = _small(source, spec)
                except EdgecvxError:
                    continue  # it was there when it was measured; the report says its name
    return made


def _source(name: str, data: str | Path, spec: PreprocessSpec) -> PictureSource | None:
    drawn = _DRAWN.fullmatch(name)
    if data == DEMO:
        if drawn is None:
            return None
        return drawn_sample("validation", int(drawn[1])).open(spec)
    # The name may come out of a JSON file: it must not lead out of the folder.
    if ".." in PurePosixPath(name).parts or PurePosixPath(name).is_absolute():
        return None
    return Path(data) / name


def _small(source: PictureSource, spec: PreprocessSpec) -> bytes:
    pixels = resize_and_crop(load_picture(source, spec), dataclasses.replace(spec, size=SIDE))
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=82)
    return stream.getvalue()
