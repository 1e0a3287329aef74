"""The half of the proof that needs a GPU: TensorRT brought, engines built, 2,000 pictures answered, and all timed.

    python3 tensorrt_run.py                                 # an environment of its own in the folder, from PyPI
    python3 tensorrt_run.py --tensorrt tensorrt-cu12==10.16.1.11     # another TensorRT than the newest
    python tensorrt_run.py --here                           # this Python, which has edgecvx and TensorRT

Under ten minutes on a GPU of this decade, the download of some gigabytes apart. It lies in the folder that
``tensorrt_prepare.py`` made and needs nothing beside that but Python 3.10 with venv. It leaves ``tensorrt.md`` there.
"""

from __future__ import annotations

import argparse
import ctypes
import platform
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
DRIVER = "libcuda.so.1"
BESIDE = ("onnx>=1.17", "onnx_ir>=0.1.9")
"""What reading a file for TensorRT takes beyond the core; torch is not among it."""
_CUDA_13 = 13000
_LIMIT = 1800
"""Seconds for the download."""


class NotHere(Exception):  # noqa: N818  # it reads: it is not here that this can be proved
    """Why nothing can be proved on this machine, in a sentence."""


def cuda_version() -> int:
    """The newest CUDA that the driver runs, 12080 for 12.8; asked before gigabytes are fetched for nothing."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise NotHere(f"TensorRT's wheels are for Linux on x86-64, and this is {sys.platform} on {platform.machine()}")
    try:
        driver = ctypes.CDLL(DRIVER)
    except OSError:
        raise NotHere(f"there is no NVIDIA driver here ({DRIVER}): run this on a machine with an NVIDIA GPU") from None
    version, count = ctypes.c_int(), ctypes.c_int()
    if driver.cuInit(ctypes.c_uint(0)) or driver.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        raise NotHere("there is an NVIDIA driver here, but no GPU that it can use")
    driver.cuDriverGetVersion(ctypes.byref(version))
    return version.value


def requirement(cuda: int) -> str:
    """TensorRT's package that goes with a driver."""
    return "tensorrt-cu13" if cuda >= _CUDA_13 else "tensorrt-cu12"


def make_environment(folder: Path, tensorrt: str) -> Path:
    """The Python of an environment with TensorRT and the package that came with the folder; made anew each time.

    Raises:
        NotHere: An environment cannot be made, or pip finds no TensorRT for this machine, or cannot bring it.
    """
    wheels = sorted(folder.glob("edgecvx-*.whl"))
    if not wheels:
        raise NotHere(f"there is no wheel of edgecvx in {folder}: tensorrt_prepare.py makes the folder whole")
    environment = folder / "venv"
    try:
        venv.create(environment, clear=True, with_pip=True)
    except (subprocess.CalledProcessError, OSError) as error:  # Debian's Python comes without what puts pip there
        raise NotHere(
            f"{environment} cannot be made ({type(error).__name__}): install python3-venv, or see --here"
        ) from None
    python = environment / "bin" / "python"
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    for what in ([str(wheels[-1]), *BESIDE], [tensorrt]):
        try:
            done = subprocess.run([*pip, *what], capture_output=True, text=True, timeout=_LIMIT)
        except subprocess.TimeoutExpired:
            raise NotHere(f"pip did not bring {what[0]} in {_LIMIT // 60} minutes") from None
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["it does not say why"]
            version = platform.python_version()
            raise NotHere(f"pip cannot bring {Path(what[0]).name} for Python {version}: {said[-1]}")
    return python


def main(words: Sequence[str] | None = None, folder: Path = FOLDER) -> int:
    """Looks for the GPU, makes the environment, and measures in it; 2 with one sentence where that cannot be."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--here", action="store_true", help="measure with this Python, installing nothing")
    parser.add_argument("--tensorrt", metavar="REQUIREMENT", help="which TensorRT; the newest that the driver runs")
    asked = parser.parse_args(words)
    try:
        cuda = cuda_version()
        python = sys.executable if asked.here else make_environment(folder, asked.tensorrt or requirement(cuda))
    except NotHere as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return subprocess.run([str(python), str(folder / "tensorrt_measure.py"), str(folder)]).returncode


if __name__ == "__main__":
    sys.exit(main())
