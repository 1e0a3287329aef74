"""What the race in a browser runs: the entrants with their files, and what a server has to hand out for them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from networks import Network, calibration_pictures, validation_pictures
from paths import HERE, OUT
from rivals import RIVALS, Rival

from edgecvx.export.web.lower import BROWSERS
from edgecvx.native.build import libraries
from edgecvx.pipeline import export

MODULES = HERE / ".venvs" / "web" / "node_modules"
PAGE = HERE / "web"
SITE = HERE.parent / "edgecvx" / "web" / "site"
PROBES = 24
"""Drawn pictures that every entrant answers, one of each class."""
USUAL = ("torch.onnx.export", "quantize_static, every op", "quantize_static, products only")
"""How most networks come to a page: PyTorch's exporter, and ONNX Runtime's quantizer behind it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrant:
    """One file in one runtime."""

    runtime: str
    """A module of ``benchmarks/web/``."""
    tool: str
    """Who made the file."""
    precision: str
    path: Path
    layout: str = "NCHW"
    build: str = ""
    """Of the runtime, where it has several that would run."""
    ours: bool = False
    """Whether edgecvx made the file."""

    @property
    def name(self) -> str:
        """Of the entrant in the page, and of its file in the server."""
        return "-".join(filter(None, [self.runtime, self.build, self.path.name]))


def entrants(network: Network, threads: int) -> list[Entrant]:
    """The engine first; then our other files and the usual ones in the runtimes they are for."""
    ours, folder = our_files(network), network.folder()
    pictures = calibration_pictures(network.calibration_count)
    usual = [rival for name in USUAL for rival in RIVALS if rival.name == name]
    return [
        _ours("edgecvx", ours["int8", "native"], build="wasm32-relaxed" if threads == 1 else "wasm32-relaxed-threads"),
        _ours("edgecvx", ours["int8", "native"], build="wasm32" if threads == 1 else "wasm32-threads"),
        _ours("litert", ours["int8", "tflite"]),
        # What it takes in a browser without relaxed SIMD; that build has no threads.
        *([_ours("litert", ours["int8", "tflite"], build="compat")] if threads == 1 else []),
        _ours("onnxruntime", ours["int8", "onnx"]),
        _ours("litert", ours["fp32", "tflite"], precision="FP32"),
        _ours("onnxruntime", ours["fp32", "onnx"], precision="FP32"),
        *(_usual(rival, rival.make(folder, pictures)) for rival in usual),
    ]


def _ours(runtime: str, path: Path, *, precision: str = "INT8", build: str = "") -> Entrant:
    layout = "NCHW" if runtime == "onnxruntime" else "NHWC"
    return Entrant(
        runtime=runtime, tool="edgecvx", precision=precision, path=path, layout=layout, build=build, ours=True
    )


def _usual(rival: Rival, path: Path) -> Entrant:
    return Entrant(runtime="onnxruntime", tool=rival.name, precision=rival.precision.upper(), path=path)


def our_files(network: Network) -> dict[tuple[str, str], Path]:
    """Our files by precision and target, made once."""
    folder = OUT / "web" / network.name
    suffixes = {"native": ".ecvx", "onnx": ".onnx", "tflite": ".tflite"}
    wanted = [(p, t) for p in ("int8", "fp32") for t in suffixes if (p, t) != ("fp32", "native")]
    found = {(p, t): path for p, t in wanted for path in folder.glob(f"*-{p}{suffixes[t]}")}
    if len(found) == len(wanted):
        return found
    for precision in ("int8", "fp32"):
        targets = [target for wanted_precision, target in wanted if wanted_precision == precision]
        result = export(network.variant, weights="demo", target=targets, precision=precision, out=folder)
        found |= {(precision, artifact.target): artifact.path for artifact in result.artifacts}
    return found


class Served(dict[str, bytes]):
    """Names and contents for a server, which keeps what was asked for."""

    def __init__(self, contents: dict[str, bytes]) -> None:
        super().__init__(contents)
        self.asked: list[str] = []

    def get(self, name: str, default: bytes | None = None) -> bytes | None:  # type: ignore[override]
        """As a server asks for it."""
        self.asked.append(name)
        return super().get(name, default)


def served(network: Network, racing: list[Entrant]) -> Served:
    """The page, the runtimes, the engine built from this checkout, the pictures, and the entrants' files."""
    litert, onnxruntime = MODULES / "@litertjs", MODULES / "onnxruntime-web" / "dist"
    if not litert.exists() or not onnxruntime.exists():
        raise SystemExit(f"{MODULES} is missing: run {HERE / 'setup.sh'} first")
    contents = {
        **_folder("", PAGE),
        **_folder("site/", SITE),
        **_folder("litert/dist/", litert / "core" / "dist"),
        **_folder("litert/wasm/", litert / "core" / "wasm"),
        **_folder("litert/utils/", litert / "wasm-utils" / "dist"),
        **_folder("onnxruntime/", onnxruntime),
        "pictures.bin": validation_pictures(PROBES)[0].tobytes(),
        **{f"engine{suffix}": library for suffix, library in libraries(BROWSERS).items()},
        **{f"files/{entrant.name}": entrant.path.read_bytes() for entrant in racing},
    }
    # The one name in it that a browser cannot resolve; a bundler would write it so.
    imported = contents["litert/dist/index.js"].replace(b'"@litertjs/wasm-utils"', b'"/litert/utils/index.js"')
    return Served({**contents, "litert/dist/index.js": imported})


def _folder(prefix: str, folder: Path) -> dict[str, bytes]:
    kinds = (".js", ".mjs", ".wasm", ".html")
    return {prefix + path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix in kinds}


def version(package: str) -> str:
    """Of an npm package in the environment."""
    return str(json.loads((MODULES / package / "package.json").read_text())["version"])
