"""From a file for TensorRT to an engine: compiled on the device, kept in a cache.

An engine belongs to one file, one TensorRT and one kind of GPU, so all three stand in its name. It is built as a
strongly typed network, which takes the type of every tensor from the file. TensorRT's Python API builds it where it is
installed, ``trtexec`` elsewhere. Tested with stand-ins for both that check what is asked of them; not run on hardware.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecvx.board.engines.base import one_line
from edgecvx.board.engines.nvidia import Driver
from edgecvx.board.engines.tensorrt import (
    EngineKey,
    Runtime,
    build,
    check_version,
    engines_folder,
    load_tensorrt,
    short,
)
from edgecvx.board.places import read_trusted
from edgecvx.errors import RuntimeFailedError, RuntimeUnavailableError, UsageError
from edgecvx.files import file_sha256, read_artifact, write_atomically
from edgecvx.runtimes import files
from edgecvx.runtimes.base import translate_errors

TRTEXEC = Path("/usr/src/tensorrt/bin/trtexec")
"""Where JetPack and NVIDIA's packages put it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """An engine that can be opened."""

    path: Path
    key: EngineKey
    builder: str
    """What built it, or would have: ``Python API`` or ``trtexec``."""
    cached: bool
    """Whether it was there already."""
    seconds: float


def build_engine(
    artifact: str | Path, *, out: Path | None = None, workspace: int | None = None, trtexec: Path | None = None
) -> Engine:
    """Compiles an artifact of target ``tensorrt`` for the GPU of this machine, or finds that this was done before.

    Args:
        artifact: The file ``edgecvx export`` wrote, or its manifest.
        out: The folder of the cache; the user's own by default, where the runtime looks too.
        workspace: MiB that TensorRT may use while it runs a layer; all there is by default.
        trtexec: The program to build with, instead of the Python API.

    Raises:
        ArtifactError: The artifact or its manifest is missing or damaged.
        UsageError: It is no file for TensorRT.
        RuntimeUnavailableError: There is neither TensorRT's Python API nor trtexec.
        RuntimeFailedError: There is no GPU, or TensorRT refuses the file.
    """
    path, manifest = read_artifact(artifact)
    if manifest.runtime != "tensorrt":
        raise UsageError(f"{path.name} is a file for {manifest.runtime}: export it with --target tensorrt")
    if workspace is not None and workspace < 1:
        raise UsageError(f"--workspace {workspace} does not work: it must be at least 1 MiB")
    builder = _builder(trtexec)
    return build_file(path, folder=out, workspace=workspace, builder=builder)


@translate_errors("tensorrt")
def build_file(
    path: Path, *, folder: Path | None = None, workspace: int | None = None, builder: Builder | None = None
) -> Engine:
    """The engine of an ONNX file, from the cache or built; its timings are kept for the next one."""
    began = time.perf_counter()
    builder = _builder(None) if builder is None else builder
    key = EngineKey(sha256=file_sha256(path), version=builder.version, device=Driver().device)
    folder = engines_folder() if folder is None else folder
    target = folder / key.name
    cached = target.is_file()
    if not cached:
        timings = folder / f"{key.place}.timing"
        known = read_trusted(timings) if timings.is_file() else b""
        plan, measured = builder.build(path, workspace, known or b"")
        for place, content in ((timings, measured), (target, plan)):
            if content:
                write_atomically(place, content)
                place.chmod(0o644)  # whatever the umask: what others may write is not read again
    seconds = time.perf_counter() - began
    return Engine(path=target, key=key, builder=builder.name, cached=cached, seconds=seconds)


def find_engine(loaded: Runtime, path: Path, options: Mapping[str, str]) -> Path:
    """The engine of an ONNX file for this GPU and TensorRT; built now, which takes minutes, with ``build=yes``."""
    files.existing(loaded, path, options)
    folder = Path(options["engines"]) if "engines" in options else engines_folder()
    key = loaded.key(file_sha256(path))
    if options.get("build", "no") == "no" and not (folder / key.name).is_file():
        raise RuntimeFailedError(
            f"{path.name} has no engine yet for {key.device.name} and TensorRT {key.version}: "
            f"run edgecvx build-engine {path.name} once"
        )
    return build_file(path, folder=folder, builder=PythonBuilder(loaded.trt)).path


class PythonBuilder:
    """TensorRT's Python API."""

    name = "Python API"

    def __init__(self, trt: Any) -> None:
        self._trt = trt
        self.version = short(trt.__version__)

    def build(self, path: Path, workspace: int | None, timings: bytes) -> tuple[bytes, bytes]:
        """The engine and the timings, as bytes."""
        return build(self._trt, path.read_bytes(), name=path.name, workspace=workspace, timings=timings)


class TrtexecBuilder:
    """NVIDIA's command line program, where there is no Python API."""

    name = "trtexec"

    def __init__(self, program: Path) -> None:
        self._program = program
        said = self._run(["--help"])
        found = re.search(r"\[TensorRT v(\d+)\]", said.stdout)
        if found is None:
            raise RuntimeFailedError(f"{program} does not say which TensorRT it is of: is it trtexec?")
        self.version = _version_of(int(found[1]))
        with translate_errors("tensorrt"):
            check_version(self.version)

    def build(self, path: Path, workspace: int | None, timings: bytes) -> tuple[bytes, bytes]:
        """The engine and the timings, as bytes."""
        with tempfile.TemporaryDirectory(prefix="edgecvx-engine-") as folder:
            engine, cache = Path(folder) / "engine", Path(folder) / "timing"
            if timings:
                cache.write_bytes(timings)
            arguments = [f"--onnx={path}", f"--saveEngine={engine}", f"--timingCacheFile={cache}"]
            arguments += ["--stronglyTyped", "--noTF32", "--skipInference"]
            arguments += [] if workspace is None else [f"--memPoolSize=workspace:{workspace}"]
            said = self._run(arguments)
            if said.returncode or not engine.is_file():
                errors = [line for line in said.stdout.splitlines() if "[E]" in line]
                reason = errors[0] if errors else f"it ended with exit code {said.returncode}"
                raise RuntimeFailedError(f"trtexec cannot build {path.name}: {one_line(reason)}")
            return engine.read_bytes(), cache.read_bytes() if cache.is_file() else b""

    def _run(self, arguments: list[str]) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                [str(self._program), *arguments],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                text=True,
                errors="replace",
                check=False,
            )
        except OSError as error:
            raise RuntimeFailedError(f"{self._program} cannot be run: {error.strerror or error}") from error


Builder = PythonBuilder | TrtexecBuilder


def _builder(trtexec: Path | None) -> Builder:
    """The program that was named, else the Python API, else trtexec where it usually is."""
    if trtexec is not None:
        if not trtexec.is_file():
            raise UsageError(f"there is no program {trtexec}")
        return TrtexecBuilder(trtexec.absolute())  # a bare name would be looked for on PATH
    try:
        with translate_errors("tensorrt"):
            return PythonBuilder(load_tensorrt())
    except RuntimeUnavailableError as error:
        found = shutil.which("trtexec") or (str(TRTEXEC) if TRTEXEC.is_file() else None)
        if found is None:
            raise RuntimeUnavailableError(
                f"{error}; there is no trtexec either, neither on PATH nor at {TRTEXEC}"
            ) from error
        return TrtexecBuilder(Path(found))


def _version_of(number: int) -> str:
    """``10.3.0`` of trtexec's 100300, ``8.6.2`` of its 8602: two digits for each part since TensorRT 10."""
    major, rest = divmod(number, 10000) if number >= 100000 else divmod(number, 1000)
    return f"{major}.{rest // 100}.{rest % 100}"
