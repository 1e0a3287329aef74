"""Programs and libraries around the engine's sources, compiled once, and the processors they can be run as.

A program of this folder includes ``all.c``, so that it sees what no library shows. It reads requests from stdin and
writes to stdout, and so it is the same program here, in qemu-user and, through WASI, in node.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgecvx.native.build import FLAGS
from edgecvx.native.sources import ENGINE

HERE = Path(__file__).parent
BUILD = Path(__file__).parents[2] / "build" / "native-proof"
"""Where what was compiled is kept, by the hash of all it was compiled from."""
ZIG = BUILD / "zig"
"""Where zig keeps the C libraries of other processors, each of which it builds in one or two minutes."""
_SANITIZED = ("-g", "-fno-omit-frame-pointer", "-fno-sanitize-recover=all")
ADDRESS = (*_SANITIZED, "-fsanitize=address,undefined")
QUICKLY = ("-g0", "-fno-sanitize=null,object-size,pointer-overflow")
"""Behind ``ADDRESS``: without what takes long to compile and shows as a crash, or as an address, all the same."""
THREAD = (*_SANITIZED, "-fsanitize=thread")
SCARCE = ("-Dmalloc=scarce_malloc", "-Dcalloc=scarce_calloc", "-Dfree=scarce_free")
"""Memory from functions of the program."""
PLAIN = ("-ffreestanding", "-DECVX_FREESTANDING", "-U__x86_64__", "-U__aarch64__")
"""Only the portable kernels, one thread: compiled in a second, which is what most broken twins need."""


class CannotCompileError(RuntimeError):
    """What a compiler said."""


def gcc() -> str | None:
    """GCC, or a clang of that name, where it finds the headers of a C library."""
    program = shutil.which("gcc")
    return program if program and _compiles((program,)) else None


def clang() -> str | None:
    """Clang, where it is installed."""
    program = shutil.which("clang")
    return program if program and _compiles((program,)) else None


def zig() -> tuple[str, ...]:
    """Zig as a C compiler; nothing where it is not installed."""
    found = importlib.util.find_spec("ziglang")
    if found is None or found.origin is None:
        return ()
    return (str(Path(found.origin).parent / ("zig.exe" if os.name == "nt" else "zig")), "cc")


def here() -> tuple[str, ...]:
    """The compiler for this machine: gcc, which is quicker, or zig."""
    program = gcc()
    return (program,) if program else zig()


@functools.cache
def sanitizes(options: tuple[str, ...] = ADDRESS) -> bool:
    """Whether gcc is here with the libraries of its sanitizers."""
    program = gcc()
    return program is not None and _compiles((program, *options))


@functools.cache
def _compiles(command: tuple[str, ...]) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        source = b"#include <stdio.h>\nint main(void) { return 0; }\n"
        tried = [*command, "-x", "c", "-", "-o", f"{folder}/tried"]
        done = subprocess.run(tried, input=source, capture_output=True, check=False)
        return done.returncode == 0 and subprocess.run([f"{folder}/tried"], check=False).returncode == 0


def compiled(
    source: Path,
    *options: str,
    compiler: Sequence[str] = (),
    folder: Path = ENGINE,
    beside: bool = False,
    ending: str = "",
    opt: str = "-O1",
) -> Path:
    """A source of ours, compiled with the engine's; one that was compiled from the same text serves again.

    Args:
        source: A file of this folder, or the engine's ``all.c``.
        options: Further flags, behind the engine's own.
        compiler: The command; this machine's by default.
        folder: Of the engine's sources.
        beside: Whether the engine is a source of its own, of which the program sees the interface alone.
        ending: Of the file's name, for whom it says what is in it.
        opt: How much is optimized, in place of the engine's own -O3, which takes three times as long.

    Raises:
        CannotCompileError: The compiler refuses it.
    """
    command = list(compiler or here())
    flags = [*(opt if flag == "-O3" else flag for flag in FLAGS), *options]
    texts = [path.read_bytes() for path in (source, HERE / "program.h", *sorted(folder.iterdir())) if path.is_file()]
    facts = [*command, *flags, platform.node(), str(ZIG), *(hashlib.sha256(text).hexdigest() for text in texts)]
    path = BUILD / f"{source.stem}-{hashlib.sha256(chr(0).join(facts).encode()).hexdigest()[:16]}{ending}"
    if path.exists():
        return path
    BUILD.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILD) as temporary:
        made = Path(temporary) / path.name
        engine, linked = [str(folder / "all.c")] if beside else [], [o for o in options if o.startswith("-l")]
        asked = [*command, *flags, f"-I{folder}", str(source), *engine, *linked, "-o", str(made)]
        kept = {**os.environ, "ZIG_GLOBAL_CACHE_DIR": str(ZIG)}
        done = subprocess.run(asked, capture_output=True, text=True, check=False, env=kept)
        if done.returncode:
            raise CannotCompileError(done.stderr[-4000:])
        made.replace(path)
    return path


def library(*options: str, compiler: Sequence[str] = (), folder: Path = ENGINE, opt: str = "-O1") -> Path:
    """The engine as a library of this machine."""
    threads = () if "-DECVX_FREESTANDING" in options else ("-lpthread", "-lm")
    flags = ("-shared", "-fPIC", '-DECVX_API=__attribute__((visibility("default")))', *options, *threads)
    return compiled(folder / "all.c", *flags, compiler=compiler, folder=folder, ending=".so", opt=opt)


def broken(folder: Path, name: str, right: str, wrong: str) -> Path:
    """The engine's sources in another folder, with one difference.

    Args:
        folder: For the sources; there may be broken ones already.
        name: Of the source that is changed.
        right: What stands in it, once.
        wrong: What shall stand there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for path in ENGINE.iterdir():
        if path.is_file() and not (folder / path.name).exists():
            shutil.copy(path, folder)
    text = (folder / name).read_text(encoding="utf-8")
    if text.count(right) != 1:
        raise ValueError(f"{right!r} stands {text.count(right)} times in {name}, not once: choose another difference")
    (folder / name).write_text(text.replace(right, wrong), encoding="utf-8")
    return folder


def without_kernels(folder: Path) -> Path:
    """Takes all kernels but the portable ones out of broken sources: what ``PLAIN`` does, where there is a system.

    A twin whose difference is in no kernel is as broken without them, and compiled in a fifth of the time.
    """
    for path in folder.iterdir():
        text = path.read_text(encoding="utf-8")
        for known in ("defined(__x86_64__)", "defined(__aarch64__)"):
            text = text.replace(known, "0")
        path.write_text(text, encoding="utf-8")
    return folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A processor that a program can be run as."""

    name: str
    kernels: str
    """Those the engine has to choose there; empty where that depends on the machine."""
    runner: tuple[str, ...] = ()
    """What runs a program of it, without the program."""
    target: tuple[str, ...] = ()
    """Flags of zig; none for this machine's own compiler."""
    flags: tuple[str, ...] = ()
    """Further ones."""
    needs: str = ""
    """What node has to be able to do: a script that ends with 0 where it is."""

    def __str__(self) -> str:
        return self.name

    def why_not(self) -> str:
        """What is missing here, in words; empty where programs can be run as it."""
        if self.target and not zig():
            return "ziglang is not installed"
        if self.runner and shutil.which(self.runner[0]) is None:
            return f"{self.runner[0]} is not installed"
        if self.needs and subprocess.run(["node", "-e", self.needs], check=False).returncode:
            return f"this is no {self.name}"
        if not self.target and not here():
            return "there is no C compiler"
        if self.target and not self._ready.exists():
            return "zig has not built its C library yet: make native-proof"
        return ""

    @property
    def _ready(self) -> Path:
        return ZIG / f".{self.target[1]}"

    def prepare(self) -> None:
        """Has zig build the processor's C library."""
        if self.target and zig() and not self._ready.exists():
            self.program(HERE / "answers.c", beside=True)
            ZIG.mkdir(parents=True, exist_ok=True)
            self._ready.touch()

    def program(
        self, source: Path, *options: str, folder: Path = ENGINE, beside: bool = False, opt: str = "-O1"
    ) -> Path:
        """A source of ours, compiled for it."""
        compiler = (*zig(), *self.target) if self.target else here()
        linked = () if self.target else ("-lpthread", "-lm")
        return compiled(
            source, *self.flags, *options, *linked, compiler=compiler, folder=folder, beside=beside, opt=opt
        )

    def run(self, program: Path, *arguments: str, given: bytes = b"", timeout: float = 600.0) -> bytes:
        """What a program writes to stdout.

        Raises:
            RuntimeError: It ended with something other than 0.
        """
        command = [*self.runner, str(program), *arguments]
        with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stdout:
            # Files, since node's WASI takes a pipe that is empty for its end, and loses what a full one does not take.
            stdin.write(given)
            stdin.seek(0)
            done = subprocess.run(
                command, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, check=False, timeout=timeout
            )
            stdout.seek(0)
            answer = stdout.read()
        if done.returncode:
            said = done.stderr.decode(errors="replace")[-2000:]
            raise RuntimeError(f"{program.name} ended with {done.returncode} on {self.name}: {said}")
        return answer


THIS = Machine(name="this machine", kernels="")


def portable() -> Machine:
    """This machine without any kernels of its own, compiled in a second."""
    return Machine(name="this machine, portable", kernels="portable", flags=PLAIN)


_X86 = ("-target", "x86_64-linux-musl", "-mcpu=x86_64", "-static")
_ARM = ("-target", "aarch64-linux-musl", "-mcpu=generic", "-static")
_ASKS = (HERE.parents[1] / "edgecvx" / "web" / "site" / "processor.js").as_uri()
"""What asks a browser."""
_WASM = ("-target", "wasm32-wasi", "-mcpu=generic+simd128+bulk_memory", "-DECVX_FREESTANDING")
_NODE = ("node", "--no-warnings", str(HERE / "wasi.mjs"))
NODE = Machine(name="node", kernels="simd128", runner=_NODE, target=_WASM)
RELAXED = Machine(
    name="node with relaxed SIMD",
    kernels="relaxed",
    runner=_NODE,
    target=(*_WASM[:2], f"{_WASM[2]}+relaxed_simd", *_WASM[3:]),
    needs=f"import('{_ASKS}').then(({{ isRelaxed }}) => process.exit(isRelaxed() ? 0 : 1))",
)
MACHINES = (
    THIS,
    Machine(name="Nehalem", kernels="portable", runner=("qemu-x86_64", "-cpu", "Nehalem"), target=_X86),
    Machine(name="Haswell", kernels="avx2", runner=("qemu-x86_64", "-cpu", "Haswell"), target=_X86),
    Machine(name="cortex-a72", kernels="neon", runner=("qemu-aarch64", "-cpu", "cortex-a72"), target=_ARM),
    Machine(name="cortex-a76", kernels="dotprod", runner=("qemu-aarch64", "-cpu", "cortex-a76"), target=_ARM),
    Machine(name="max", kernels="dotprod", runner=("qemu-aarch64", "-cpu", "max"), target=_ARM),
    NODE,
    RELAXED,
)
"""All that are known here. A Raspberry Pi 4 has A72 cores, a Raspberry Pi 5 A76 ones."""
