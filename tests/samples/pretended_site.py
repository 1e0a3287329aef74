"""The page with a model that only pretends: answers, refusals and slowness as a test wants them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgecvx.web.files import site_files

LABELS = ("red star", "blue ring", "green disc", "yellow cross", "red square", "blue star", "green ring")
MODEL = Path(__file__).parent / "web" / "edgecvx.js"
"""In the place of the site's own ``edgecvx.js``."""


def model(name: str = "femto-224-int8", *, labels: Sequence[str] = LABELS, **pretended: Any) -> dict[str, Any]:
    """A model of ``models.json``, and how it pretends.

    Args:
        name: Its name.
        labels: Of its classes.
        pretended: ``inferMs``; ``holds``, whether it goes on loading at each ``goOn()``; ``refusal``, the sentence with
            which it is not opened; ``overflows``, whether its answers are no numbers.
    """
    how = {"seed": 7, "size": 224, "inferMs": 10, "holds": False, "refusal": None, "overflows": False, **pretended}
    return {
        "name": name,
        "file": f"{name}.ecvx",
        "engines": {platform: f"{name}.{platform}.wasm" for platform in ("wasm32", "wasm32-threads")},
        "bytes": 5_200_000,
        "sha256": {},
        "pretend": {"labels": list(labels), **how},
    }


def pretended_site(*models: dict[str, Any]) -> dict[str, bytes]:
    """All files of a site with these models; one that works where none is named."""
    listed = {"schema_version": 1, "edgecvx": "0.1.0", "models": list(models or (model(),))}
    return {
        **site_files(),
        "edgecvx.js": MODEL.read_bytes(),
        "models.json": json.dumps(listed).encode(),
        "sw.js": b"",  # keeping a site is tested with a real one
    }
