"""From a file for TensorRT to an engine: compiled on the device, kept in a cache.

An engine belongs to one file, one TensorRT and one kind of GPU, so all three stand in its name. It is built as a
strongly typed network, which takes the type of every tensor from the file. TensorRT's Python API builds it where it is
installed, ``trtexec`` elsewhere. Tested with stand-ins for both that check what is asked of them; not run on hardware.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecvx.errors import ArtifactError, RuntimeFailedError, RuntimeUnavailableError, UsageError
from edgecvx.manifest import file_sha256, locate, read_manifest, verify_files, write_atomically
from edgecvx.places import cache_folder
from edgecvx.runtimes import cuda
from edgecvx.runtimes.cuda import Device

OLDEST = (10, 0)
"""The first with strongly typed networks in its Python API and in trtexec, and with INT8 weights as constants."""
TRTEXEC = Path("/usr/src/tensorrt/bin/trtexec")
"""Where JetPack and NVIDIA's packages put it."""
ABSENT = (
    "TensorRT is not installed here: on a Jetson it comes with JetPack (sudo apt install nvidia-jetpack), "
    "elsewhere: pip install 'edgecvx[tensorrt]'"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineKey:
    """What an engine depends on; DLA is not used, so it is no part of it."""

    sha256: str
    """Of the ONNX file."""
    version: str
    """Of TensorRT, its first three numbers."""
    device: Device

    @property
    def place(self) -> str:
        """TensorRT and GPU, in a file name."""
        gpu = re.sub(r"[^a-z0-9]+", "-", self.device.name.lower()).strip("-") or "gpu"
        return f"trt{self.version}-{gpu}-sm{self.device.capability.replace('.', '')}"

    @property
    def name(self) -> str:
        """The file name of the engine."""
        return f"{self.sha256[:32]}-{self.place}.engine"  # 128 bits: nobody makes two files that share an engine


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
    path, _ = locate(Path(artifact))
    manifest = read_manifest(path)
    verify_files(manifest, path.parent)
    if manifest.runtime != "tensorrt":
        raise UsageError(f"{path.name} is a file for {manifest.runtime}: export it with --target tensorrt")
    if workspace is not None and workspace < 1:
        raise UsageError(f"--workspace {workspace} does not work: it must be at least 1 MiB")
    builder = _builder(trtexec)
    return build_file(path, folder=out, workspace=workspace, builder=builder)


def build_file(
    path: Path, *, folder: Path | None = None, workspace: int | None = None, builder: Builder | None = None
) -> Engine:
    """The engine of an ONNX file, from the cache or built; its timings are kept for the next one."""
    began = time.perf_counter()
    builder = _builder(None) if builder is None else builder
    key = EngineKey(sha256=file_sha256(path), version=builder.version, device=cuda.Driver().device)
    folder = engines_folder() if folder is None else folder
    target = folder / key.name
    cached = target.is_file()
    if not cached:
        timings = folder / f"{key.place}.timing"
        known = _read_trusted(timings) if timings.is_file() else b""
        plan, measured = builder.build(path, workspace, known or b"")
        for place, content in ((timings, measured), (target, plan)):
            if content:
                write_atomically(place, content)
                place.chmod(0o644)  # whatever the umask: what others may write is not read again
    seconds = time.perf_counter() - began
    return Engine(path=target, key=key, builder=builder.name, cached=cached, seconds=seconds)


def engines_folder() -> Path:
    """Where engines lie, if nobody says otherwise. Not beside a file: what came with one is not to be run as code."""
    return cache_folder() / "engines"


def read_engine(path: Path) -> bytes:
    """An engine's bytes, if nobody but its user and root could have written them: an engine is code.

    Raises:
        RuntimeFailedError: It is somebody else's, or others may write it.
    """
    content = _read_trusted(path)
    if content is None:
        raise RuntimeFailedError(
            f"the engine {path.name} could have been written by another user, and an engine is code: delete it and run "
            "edgecvx build-engine again, as root or as the user that runs it"
        )
    return content


def _read_trusted(path: Path) -> bytes | None:
    """A file's bytes; None if it is somebody else's, or others may write it."""
    with path.open("rb") as stream:
        if os.name == "posix":
            facts = os.fstat(stream.fileno())  # of the very file that is read
            if facts.st_uid not in (0, os.geteuid()) or facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                return None
        return stream.read()


def load_tensorrt() -> Any:
    """TensorRT's Python API.

    Raises:
        RuntimeUnavailableError: It is not installed, or too old.
    """
    try:
        import tensorrt
    except ModuleNotFoundError as error:
        raise RuntimeUnavailableError(ABSENT) from error
    except (ImportError, OSError) as error:  # its libraries are missing, or of another CUDA
        raise RuntimeUnavailableError(f"TensorRT is installed but does not load: {error}") from error
    _check_version(short(tensorrt.__version__))
    return tensorrt


def short(version: str) -> str:
    """``10.3.0`` of ``10.3.0.30`` or ``10.3.0.post1``: what the Python API and trtexec both say of themselves."""
    return ".".join(re.findall(r"\d+", version)[:3])


def _check_version(version: str) -> None:
    if tuple(int(n) for n in version.split(".")[:2]) < OLDEST:
        raise RuntimeUnavailableError(
            f"TensorRT {version} is too old: edgecvx needs {OLDEST[0]}.{OLDEST[1]} or newer (on a Jetson, JetPack 6.1 "
            "or newer brings it), the first with strongly typed networks"
        )


class PythonBuilder:
    """TensorRT's Python API."""

    name = "Python API"

    def __init__(self, trt: Any) -> None:
        self._trt = trt
        self.version = short(trt.__version__)

    def build(self, path: Path, workspace: int | None, timings: bytes) -> tuple[bytes, bytes]:
        """The engine and the timings, as bytes."""
        trt, logger = self._trt, _listening(self._trt)
        builder = trt.Builder(logger)
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        parser = trt.OnnxParser(network, logger)
        if not parser.parse(path.read_bytes()):
            told = "; ".join(str(parser.get_error(i)) for i in range(parser.num_errors))
            raise RuntimeFailedError(f"TensorRT cannot read {path.name}: {_short_line(told)}")
        config = builder.create_builder_config()
        if workspace is not None:
            config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace << 20)
        cache = config.create_timing_cache(timings)
        if cache is None or not config.set_timing_cache(cache, False):  # of another TensorRT, or damaged
            config.set_timing_cache(config.create_timing_cache(b""), False)
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise RuntimeFailedError(f"TensorRT cannot build {path.name}: {_short_line('; '.join(logger.errors))}")
        return bytes(plan), bytes(config.get_timing_cache().serialize())


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
        _check_version(self.version)

    def build(self, path: Path, workspace: int | None, timings: bytes) -> tuple[bytes, bytes]:
        """The engine and the timings, as bytes."""
        with tempfile.TemporaryDirectory(prefix="edgecvx-engine-") as folder:
            engine, cache = Path(folder) / "engine", Path(folder) / "timing"
            if timings:
                cache.write_bytes(timings)
            arguments = [f"--onnx={path}", f"--saveEngine={engine}", f"--timingCacheFile={cache}"]
            arguments += ["--stronglyTyped", "--skipInference"]
            arguments += [] if workspace is None else [f"--memPoolSize=workspace:{workspace}"]
            said = self._run(arguments)
            if said.returncode or not engine.is_file():
                errors = [line for line in said.stdout.splitlines() if "[E]" in line]
                told = errors[0] if errors else f"it ended with exit code {said.returncode}"
                raise RuntimeFailedError(f"trtexec cannot build {path.name}: {_short_line(told)}")
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


def _listening(trt: Any) -> Any:
    """A logger that keeps TensorRT's errors, so that they can be told in one line."""

    class Listener(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.errors.append(message)

    return Listener()


def _short_line(text: str) -> str:
    return " ".join(text.split())[:300] or "it does not say why"


def damaged(path: Path) -> ArtifactError:
    """The error for an engine that cannot be opened."""
    return ArtifactError(f"TensorRT cannot open the engine {path.name}: delete it and run edgecvx build-engine again")
