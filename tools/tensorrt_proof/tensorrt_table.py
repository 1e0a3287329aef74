"""What a proof on a GPU came to, as the Markdown that docs/tensorrt.md takes."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tensorrt_files import Plan

from edgecvx.board.device.processors import this_processor
from edgecvx.board.engines.nvidia import Driver
from edgecvx.results.figures import cosine, count, milliseconds, percent, small
from edgecvx.runtimes.base import translate_errors
from edgecvx.runtimes.engine import version

_COLUMNS = (
    *("file", "engine", "top-1", "other answers", "mean cosine", "worst, of the range", "probes: off by, allowed"),
    *("array to arrays", "engine alone", "trtexec", "ran in"),
)
_MODULE = Path("/proc/driver/nvidia/version")
_VERSION = re.compile(r"\b\d{3}\.\d+(?:\.\d+)?\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where it ran."""

    gpu: str
    driver: str
    tensorrt: str
    processor: str

    @property
    def sentence(self) -> str:
        """All of it."""
        return f"{self.gpu}, driver {self.driver}, TensorRT {self.tensorrt}; {self.processor}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What came of the pictures, and of the probes that the file was proved with."""

    top1: float
    others: float
    """The part of pictures with another class than FP32 PyTorch's."""
    cosine: float
    worst: float
    """The largest difference, as a part of the range of the reference's logits."""
    recheck: str
    """How far it was off on the probes, and what it may be; or why it is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One file."""

    file: str
    answers: Answers
    engine: str = ""
    """How it was built, in words."""
    backend: str = ""
    call: str = ""
    """From an array to arrays, with its interval."""
    alone: float | None = None
    """Milliseconds of the engine alone, without the ways over."""
    trtexec: float | None = None
    """The same by trtexec."""


@translate_errors("tensorrt")
def machine() -> Machine:
    """This one."""
    device, processor = Driver().device, this_processor()
    return Machine(
        gpu=f"{device.name}, compute capability {device.capability}",
        driver=driver_version(),
        tensorrt=version("tensorrt"),
        processor=f"{processor.name or platform.machine()}, {processor.kind or 'no INT8 instructions that are known'}",
    )


def driver_version() -> str:
    """As ``nvidia-smi`` says, or the kernel's module; ``unknown`` where neither is seen."""
    if program := shutil.which("nvidia-smi"):
        asked = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
        said = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    else:
        said = _MODULE.read_text() if _MODULE.is_file() else ""
    found = _VERSION.search(said)
    return found[0] if found else "unknown"


def table(where: Machine, plan: Plan, rows: Sequence[Row]) -> str:
    """The machine, and a line for each file."""
    return "\n".join((*_head(where, plan), *map(_line, rows), ""))


def _head(where: Machine, plan: Plan) -> Iterator[str]:
    yield f"{where.sentence}. {plan.model}, {count(len(plan.labels))} drawn pictures, beside FP32 PyTorch:"
    yield ""
    yield f"| {' | '.join(_COLUMNS)} |"
    yield "|" + "---|" * len(_COLUMNS)


def _line(row: Row) -> str:
    found = row.answers
    cells = [f"`{row.file}`", row.engine or "none", percent(found.top1), percent(found.others), cosine(found.cosine)]
    cells += [small(found.worst), found.recheck, row.call]
    cells += ["" if value is None else milliseconds(value) for value in (row.alone, row.trtexec)]
    return f"| {' | '.join([*cells, row.backend])} |"
