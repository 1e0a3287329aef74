"""Whether TFLite's GPU delegate would take a file, in the opinion of TensorFlow's Analyzer.

TensorFlow is large and noisy, and its Analyzer is native code that prints; so it runs in a process of its own, and what
it printed is read. It knows the delegate's rules, not the phone: a file it accepts can still run badly somewhere.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from edgecvx.errors import RuntimeFailedError, missing_package

_PATIENCE = 180.0
_PROGRAM = (
    "import sys, tensorflow as tf; "
    "tf.lite.experimental.Analyzer.analyze(model_path=sys.argv[1], gpu_compatibility=True)"
)
_ACCEPTED = re.compile(r"looks compatible with GPU delegate on TFLite runtime version (\S+?)\.?$", re.MULTILINE)
_REFUSED = re.compile(r"GPU COMPATIBILITY WARNING: (.+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuOpinion:
    """What the Analyzer says."""

    compatible: bool
    runtime: str | None
    """The TFLite version whose rules it knows, where it names one."""
    reasons: tuple[str, ...]
    """Why not, in its own words; each once."""


def gpu_opinion(path: Path) -> GpuOpinion:
    """Asks TensorFlow's Analyzer about a ``.tflite`` file.

    Raises:
        RuntimeUnavailableError: TensorFlow is not installed.
        RuntimeFailedError: It gave no answer, or died on the file.
    """
    if importlib.util.find_spec("tensorflow") is None:
        raise missing_package("TensorFlow, whose Analyzer knows the GPU delegate's rules,", "tensorflow")
    command = [sys.executable, "-c", _PROGRAM, str(path.absolute())]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        raise RuntimeFailedError(
            f"TensorFlow's Analyzer gave no answer about {path.name} in {_PATIENCE:.0f} s"
        ) from None
    return read_opinion(done.stdout, path.name)


def read_opinion(said: str, name: str) -> GpuOpinion:
    """Reads what the Analyzer printed.

    Raises:
        RuntimeFailedError: It holds no opinion: the Analyzer died, or says it in other words now.
    """
    accepted = _ACCEPTED.search(said)
    reasons = tuple(dict.fromkeys(reason.strip() for reason in _REFUSED.findall(said)))
    if accepted is None and not reasons:
        raise RuntimeFailedError(f"TensorFlow's Analyzer has no opinion on {name}; is it a sound .tflite file?")
    return GpuOpinion(
        compatible=accepted is not None and not reasons, runtime=accepted[1] if accepted else None, reasons=reasons
    )
