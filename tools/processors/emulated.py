"""Runs a Python program of ours as another processor would run it.

Runtimes choose their kernels by what the processor says of itself, so a file can compute other numbers elsewhere than
where it was proved. There are three ways to see them without that processor:

- ``QEMU``: Debian's qemu-user executes every instruction, slowly: ``qemu-x86_64 -cpu Haswell python …``. Any x86-64
  machine can. ``-L FOLDER`` puts the files of a folder before the machine's own, and so a Haswell's ``/proc/cpuinfo``
  before the real one.
- ``HIDDEN``: the real processor without some of its instructions, at full speed, children included (``hide.c``). It has
  to let CPUID fault, and to be more than the class it plays.
- ``BOARD``: ``qemu-aarch64 -L FOLDER`` with Debian for arm64 and the runtimes' aarch64 wheels in the folder, which
  ``board.sh`` fills. It needs no root, no chroot and no binfmt. Children are emulated too: ``sys.executable`` is there
  a script that starts the emulator.

In ``QEMU`` the children a program starts run on the real processor: sessions are opened with ``isolated=False``.

How far they can be believed: on a Sapphire Rapids, 6 pictures through a trained atto at 64 px and 4 through the small
networks of the tests, in FP32, INT8 and INT8-dynamic, gave the same bits on QEMU's Haswell as in the hidden class AVX2
in ONNX Runtime 1.31 and OpenVINO 2026.4, and on its Nehalem as in SSE4.2. In TFLite they differ in the last digits of a
float32 (2e-7 of the range of FP32 files), after which an INT8 file may round a value the other way: its library alone
uses ``rcpps`` and ``rsqrtps``, which an Intel computes to twelve bits and QEMU 7.2 to all of them.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BUILD = ROOT / "build"
BOARD = Path(os.environ.get("EDGECVX_ARM_BOARD", BUILD / "board"))
"""Where ``make board`` puts the Arm board, or where there is another one."""


class Way(str, enum.Enum):
    """How a program comes to run as another processor."""

    HERE = "here"
    """It does not."""
    QEMU = "qemu"
    HIDDEN = "hidden"
    BOARD = "board"


@dataclass(frozen=True, slots=True, kw_only=True)
class Processor:
    """A processor that a program can be run as."""

    name: str
    way: Way
    kind: str
    """Its class, one of ``edgecvx.board.device.processors.KINDS``; empty for this machine's own."""
    family: str = ""
    """What /proc/cpuinfo says of it where ``QEMU`` emulates it."""
    flags: str = ""

    def __str__(self) -> str:
        return self.name if self.way is Way.HERE else f"{self.name} ({self.way.value})"

    @property
    def slow(self) -> bool:
        """Whether it takes a hundred times as long as a real one."""
        return self.way in (Way.QEMU, Way.BOARD)

    @property
    def cpuinfo(self) -> str:
        """A whole /proc/cpuinfo, of one core."""
        lines = {
            "processor": "0",
            "vendor_id": "GenuineIntel",
            "cpu family": "6",
            "model": self.family,
            "model name": f"Intel Core Processor ({self.name})",
            "stepping": "1",
            "cpu cores": "1",
            "flags": self.flags,
        }
        return "".join(f"{key}\t: {value}\n" for key, value in lines.items()) + "\n"


THIS = Processor(name="this machine", way=Way.HERE, kind="")
_NEHALEM = "fpu de pse tsc msr cx8 cmov mmx fxsr sse sse2 syscall nx lm pni ssse3 cx16 sse4_1 sse4_2 popcnt lahf_lm"
_HASWELL = f"{_NEHALEM} pclmulqdq fma movbe aes xsave avx f16c rdrand abm fsgsbase bmi1 avx2 bmi2 erms"
PROCESSORS = (
    Processor(name="Haswell", way=Way.QEMU, kind="AVX2", family="60", flags=_HASWELL),
    Processor(name="Nehalem", way=Way.QEMU, kind="SSE4.2", family="26", flags=_NEHALEM),
    *(
        Processor(name=kind, way=Way.HIDDEN, kind=kind)
        for kind in ("SSE4.2", "AVX2", "AVX-VNNI", "AVX-512", "AVX512-VNNI")
    ),
    Processor(name="cortex-a72", way=Way.BOARD, kind="NEON"),
    Processor(name="cortex-a76", way=Way.BOARD, kind="dotprod"),
)
"""All that are known here: QEMU 7.2 has no AVX-512, and a Raspberry Pi 4 has A72 cores, a Raspberry Pi 5 A76 ones."""


class EmulationError(RuntimeError):
    """A program that did not run as it should."""


def run(processor: Processor, program: Path, *arguments: str | Path, timeout: float | None = None) -> str:
    """Runs a Python program, which finds the packages of this environment and edgecvx; what it printed.

    Raises:
        EmulationError: It failed.
    """
    done = subprocess.run(
        [*_python(processor), str(program), *map(str, arguments)],
        env=_environment(processor),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if "doesn't support requested feature" not in line]
        raise EmulationError(f"{program.name} ended with {done.returncode} on {processor}:\n" + "\n".join(said[-20:]))
    return done.stdout


@functools.cache
def why_not(processor: Processor) -> str | None:
    """What is missing here for that processor, in words; None where programs can be run as it."""
    if processor.way is Way.BOARD:
        if not (BOARD / ".ready").exists():
            return f"there is no Arm board in {BOARD}: make board"
        return None if shutil.which("qemu-aarch64") else "qemu-aarch64 is not installed: apt-get install qemu-user"
    if processor.way is not Way.HERE and (sys.platform, platform.machine()) != ("linux", "x86_64"):
        return "this machine is no x86-64 with Linux"
    if processor.way is Way.QEMU:
        return None if shutil.which("qemu-x86_64") else "qemu-x86_64 is not installed: apt-get install qemu-user"
    if processor.way is Way.HIDDEN:
        return _why_not_hidden(processor)
    return None


CANNOT = 97
"""The exit code of ``hide.c`` where the processor does not let CPUID fault or is less than the class."""


def _why_not_hidden(processor: Processor) -> str | None:
    if shutil.which("gcc") is None:
        return "gcc is not installed, which builds hide.c"
    headers = subprocess.run(
        ["gcc", "-E", "-x", "c", "-"], input=b"#include <stdio.h>\n", capture_output=True, check=False
    )
    if headers.returncode:
        return "gcc finds no headers of the C library: apt-get install libc6-dev"
    tried = subprocess.run(["/bin/true"], env=_environment(processor), stderr=subprocess.PIPE, text=True, check=False)
    if tried.returncode in (0, CANNOT):
        return tried.stderr.strip() or None
    raise EmulationError(f"hide.c ended with {tried.returncode}: {tried.stderr.strip()}")


def _python(processor: Processor) -> list[str]:
    """How Python is started: the program itself, since an emulator follows no virtual environment's link."""
    if processor.way is Way.BOARD:
        return [str(BOARD / processor.name / "python")]
    python = str(Path(sys.executable).resolve())
    if processor.way is Way.QEMU:
        return ["qemu-x86_64", "-L", str(_cpuinfo(processor)), "-cpu", processor.name, python]
    return [python]


def _environment(processor: Processor) -> dict[str, str]:
    """One thread everywhere: sums keep their order, and an emulator gains nothing by more."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    if processor.way is Way.BOARD:
        path = os.environ.get("PATH", os.defpath)
        return {"PATH": path, "LANG": "C.UTF-8", "PYTHONPATH": f"{ROOT}:/site", **threads}
    packages = dict.fromkeys([str(ROOT), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    found = {**os.environ, "PYTHONPATH": os.pathsep.join(packages), **threads}
    if processor.way is Way.HIDDEN:
        found |= {"LD_PRELOAD": str(hiding_library()), "EDGECVX_PROCESSOR": processor.kind}
    return found


def _cpuinfo(processor: Processor) -> Path:
    """The folder whose files go before the machine's own."""
    folder = BUILD / "processors" / processor.name
    _written(folder / "proc" / "cpuinfo", processor.cpuinfo.encode())
    return folder


@functools.cache
def hiding_library() -> Path:
    """``hide.c``, built; a library that was built from the same text serves again."""
    source = HERE / "hide.c"
    path = BUILD / "processors" / f"libhide-{hashlib.sha256(source.read_bytes()).hexdigest()[:12]}.so"
    if not path.exists():
        with tempfile.TemporaryDirectory() as folder:
            built = Path(folder) / path.name
            flags = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
            subprocess.run(["gcc", *flags, "-o", str(built), str(source), "-ldl"], check=True)
            _written(path, built.read_bytes())
    return path


def _written(path: Path, content: bytes) -> None:
    """A file that is there whole or not at all, whoever else writes it at the same time."""
    if path.exists() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(content)
    Path(file.name).chmod(0o644)
    Path(file.name).replace(path)
