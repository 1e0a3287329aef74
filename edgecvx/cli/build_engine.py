"""``edgecvx build-engine``: a file for TensorRT, compiled for the GPU it will run on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from edgecvx.cli import show


def build_engine(
    artifact: Annotated[Path, typer.Argument(metavar="ARTIFACT", help="A file edgecvx export -t tensorrt wrote.")],
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where engines go; the cache by default.")] = None,
    workspace: Annotated[
        int | None, typer.Option(metavar="MiB", min=1, help="Memory TensorRT may work in; all there is by default.")
    ] = None,
    trtexec: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Build with this program, not with TensorRT's Python API.")
    ] = None,
    as_json: show.AsJson = False,
) -> None:
    """Compile an artifact for the NVIDIA GPU of this machine; takes minutes once, and is kept.

    With TensorRT's Python API, or trtexec where that is not installed. The engine belongs to this file, this TensorRT
    and this GPU, and its runtime finds it by all three. Not run on hardware.
    """
    from edgecvx.runtimes.tensorrt_engine import build_engine as build

    engine = build(artifact, out=out, workspace=workspace, trtexec=trtexec)
    if as_json:
        built = {
            "path": str(engine.path),
            "tensorrt": engine.key.version,
            "gpu": engine.key.device.name,
            "compute_capability": engine.key.device.capability,
            "builder": engine.builder,
            "cached": engine.cached,
            "seconds": round(engine.seconds, 3),
        }
        show.json_object(built)
        return
    how = "there already" if engine.cached else f"built with {engine.builder} in {engine.seconds:.0f} s"
    show.out.print(escape(f"{engine.path}: {how}"), soft_wrap=True, highlight=False)
    gpu = f"for {engine.key.device.name}, compute capability {engine.key.device.capability}"
    show.out.print(escape(f"{gpu}, TensorRT {engine.key.version}"), style="dim", highlight=False)
