"""A site as a browser meets it, from an artifact of the native engine: what an export writes, without its checks."""

from __future__ import annotations

import hashlib
import json
import platform
from pathlib import Path
from typing import Any

from edgecvx.data.probe import probe_pictures
from edgecvx.export.web.lower import BROWSERS
from edgecvx.manifest import read_manifest
from edgecvx.native.build import build
from edgecvx.native.platforms import PLATFORMS
from edgecvx.runtimes.proof import limit_of, remedy

SITE = Path(__file__).parents[2] / "edgecvx" / "web" / "site"
"""The static files."""
KERNELS = "simd128bytes" if platform.machine() in ("aarch64", "arm64") else "simd128"
"""Those that are chosen in a browser on this machine."""


def engine(platform: str = "wasm32") -> bytes:
    """The engine as WebAssembly."""
    return build(PLATFORMS[platform])


def site_of(artifact: Path) -> dict[str, bytes]:
    """All files of a site with one model, an artifact of the native engine."""
    manifest = read_manifest(artifact)
    written = artifact.with_name(f"{artifact.name}.edgecvx.json").read_bytes()
    limit = limit_of(manifest, manifest.proof.engine, {})
    return site(artifact.stem, artifact.read_bytes(), written, manifest.model.preprocess.size, limit, remedy(manifest))


def site(stem: str, model: bytes, manifest: bytes, size: int, limit: float, remedy: str) -> dict[str, bytes]:
    """The same of a model that nobody exported; a test may damage the files."""
    files = {path.name: path.read_bytes() for path in SITE.iterdir() if path.is_file()}
    names = {
        "file": f"{stem}.ecvx",
        "manifest": f"{stem}.ecvx.edgecvx.json",
        "probes": f"probes-{size}.bin",
    }
    engines = {platform: f"{stem}.{platform}.wasm" for platform in BROWSERS}
    contents = (model, manifest, probe_pictures(size).tobytes())
    files |= dict(zip(names.values(), contents, strict=True))
    files |= {name: engine(platform) for platform, name in engines.items()}
    files["index.html"] = b"<!doctype html><meta charset=utf-8><title>site</title>"
    files["favicon.ico"] = b""
    return sealed(
        files, {"name": stem, **names, "engines": engines, "limit": limit, "remedy": remedy, "bytes": len(model)}
    )


def sealed(files: dict[str, bytes], entry: dict[str, Any]) -> dict[str, bytes]:
    """The files with the hashes of what they hold now: what a damaged twin needs, to get as far as being run."""
    named = [*(entry[key] for key in ("file", "manifest", "probes")), *entry["engines"].values()]
    hashes = {name: hashlib.sha256(files[name]).hexdigest() for name in named}
    listed = {"schema_version": 1, "edgecvx": "0.1.0", "models": [{**entry, "sha256": hashes}]}
    return {**files, "models.json": json.dumps(listed).encode()}


def entry_of(files: dict[str, bytes]) -> dict[str, Any]:
    """The model of a site's list."""
    entry: dict[str, Any] = json.loads(files["models.json"])["models"][0]
    return entry
