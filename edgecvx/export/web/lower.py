"""The native engine's file, and the engine as WebAssembly: for one thread and several, with relaxed SIMD or not."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from edgecvx.errors import UsageError
from edgecvx.export.base import Lowered
from edgecvx.export.native import lower as native
from edgecvx.native.platforms import PLATFORMS
from edgecvx.spec import InputKind

NEEDED = "wasm32"
"""What every browser runs, and what a page begins with."""
BROWSERS = tuple(name for name in PLATFORMS if name.startswith(NEEDED))


@dataclass(frozen=True, slots=True, kw_only=True)
class WebOptions(native.NativeOptions):
    """How to write a file for browsers."""

    platforms: tuple[str, ...] = BROWSERS


def check_request(options: WebOptions, *, input_kind: InputKind, batch: int) -> None:
    """Refuses an artifact that no browser could run.

    Raises:
        UsageError: The engine for browsers is not among its platforms.
    """
    if NEEDED not in options.platforms:
        raise UsageError(
            f"target web needs the engine for browsers: say --platform {','.join((NEEDED, *options.platforms))}, or "
            "leave it out"
        )


def lower(graph: ir.Model, options: WebOptions) -> Lowered:
    """Writes a quantized graph as an ``.ecvx`` file, and the engines that run it, as ``edgecvx.export.native`` does."""
    return native.lower(graph, options)
