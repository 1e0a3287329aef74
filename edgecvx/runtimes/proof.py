"""A file is asked again where it was not proved: once on each class of processors, and in each other runtime.

``check`` is the one place where that happens on this machine; a benchmark does the same on the device it runs on, with
the same arithmetic (``edgecvx.board.proof``).
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgecvx.board.device.processors import Processor, this_processor
from edgecvx.board.places import cache_folder
from edgecvx.board.proof import Proof, difference, expected, refusal
from edgecvx.data.preprocess import as_input
from edgecvx.data.probe import probe_pictures
from edgecvx.errors import ArtifactError
from edgecvx.files import write_atomically
from edgecvx.manifest import Manifest
from edgecvx.runtimes import NO_OPTIONS
from edgecvx.runtimes.base import Array, Session, run_batches
from edgecvx.runtimes.engine import engine_of, version
from edgecvx.spec import Scales, TensorSpec, to_json

LEAST: Mapping[int, float] = {
    32: 1e-4,  # measured between the classes: 1.2e-6 at most
    16: 1e-2,  # 2e-3: ONNX Runtime computes in halves on an Arm that has them, and in singles on a PC
    8: 2e-3,
}
"""Bits of a weight -> what any file may be off by: the root mean square over the probes, as a part of the output's
range."""
NOISE: Mapping[Scales, float] = {"none": 0.0, "calibrated": 1.8, "at run time": 0.9}
"""Where scales come from -> what such a file may be off by, as a part of what it was off from its reference when it was
proved.

A calibrated file differs from its plan, computed operation by operation, because a number halfway between two steps
goes up here and down there. Another class of processors is one more such calculation, as far from the plan, and from
the first, by about as much. A file with scales found at run time is proved against FP32, and moves by less than its
quantization does.

Measured with 16 networks (trained, and random of every size) in ONNX Runtime, OpenVINO and TFLite, proved on AMX, on
five other classes of x86, and some of them on an emulated Cortex-A72 and A76. Sums that hold: at most 1.06 times the
noise (of 94 files, as far as they differed at all), dynamic 0.51 (42). Sums that overflow in 16 bits, as on AVX2
without the care of ``quantize.pairs``: from 2.2 times on (72 files), dynamic from 1.10 on (16). The limits lie nearer
to these: files that overflow are not written any more, and one that is refused for nothing would be of no use.
"""

HALF_AS_FINE = ("precision", "provider", "device", "compute_units", "fp16")
"""Options of runtimes by which a user asks for arithmetic that is not the file's own: bfloat16, or a GPU's halves."""
COARSEST = 0.1
"""What such arithmetic may be off by: its mantissas have 8 bits, no more than INT8 has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recheck:
    """A file that was asked again, because it was not proved on this class of processors, or not in this runtime."""

    proved: str
    """Where it was proved, in words: ``AMX``, ``AMX in onnxruntime``."""
    here: str
    """Where it was asked again."""
    error: float | None
    """How far its answers to the probe pictures were from those at the proof: the root mean square, as a part of the
    output's range. None where nothing can be asked: a tool of the runtime's own takes no pictures."""
    limit: float
    """What it may be."""

    @property
    def sentence(self) -> str:
        """What a reader of figures should know."""
        if self.error is None:
            return f"proved on {self.proved}; here ({self.here}) nothing takes pictures, so it was not checked again"
        return (
            f"proved on {self.proved}; checked here ({self.here}) against what it computed there: "
            f"off by {self.error:.2g} of the range, allowed is {self.limit:.2g}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Whether a file computes here what it computed where it was proved."""

    manifest: Manifest
    processor: Processor
    engine: str
    """What runs it here."""
    version: str
    options: Mapping[str, str]
    """Of the runtime."""

    @property
    def arises(self) -> bool:
        """Whether it has to be asked at all."""
        return not self.manifest.proof.holds(self.processor.kind, self.engine, self.options)

    @property
    def limit(self) -> float:
        """How far the answers may be from those at the proof."""
        return limit_of(self.manifest, self.engine, self.options)

    def remembered(self) -> Recheck | None:
        """The answer, if it was given before: for these very files, this processor and this version of the runtime."""
        key = self._key()
        if key is None:
            return None
        try:
            error = json.loads((_folder() / key).read_text(encoding="utf-8"))["error"]
        except (OSError, RuntimeError, ValueError, RecursionError, TypeError, KeyError):  # not there, or damaged
            return None
        is_number = isinstance(error, int | float) and not isinstance(error, bool)
        return self._answered(float(error)) if is_number and 0 <= error <= self.limit else None

    def ask(self, session: Session, name: str) -> Recheck:
        """Runs the probe pictures, and remembers what came of it if it is good.

        Args:
            session: The file, open.
            name: The file's.

        Raises:
            ArtifactError: It computes something else here.
        """
        manifest = self.manifest
        answers = run_batches(session, probes_for(manifest))
        output, error = difference(manifest.proof, answers)
        if not error <= self.limit:
            sentence = refusal(name, self._here, self._there, output, error, self.limit)
            raise ArtifactError(f"{sentence}; {remedy(manifest)}")
        self._remember(error)
        return self._answered(error)

    @property
    def _here(self) -> str:
        return self.manifest.proof.here(self.processor.kind, self.engine, self.options)

    @property
    def _there(self) -> str:
        return self.manifest.proof.there(self.engine, self.options)

    def _answered(self, error: float) -> Recheck:
        return Recheck(proved=self._there, here=self._here, error=error, limit=self.limit)

    def _remember(self, error: float) -> None:
        """Where it cannot be written, it is asked again next time."""
        if (key := self._key()) is not None:
            what = {"error": error, "limit": self.limit, "here": self._here, "proved": self._there}
            with contextlib.suppress(OSError, RuntimeError):
                write_atomically(_folder() / key, (json.dumps(what, indent=1) + "\n").encode())

    def _key(self) -> str | None:
        """None where it could not be told next time that all is as it was.

        That is so for a processor without a name, and for what is behind another runtime or its options, a GPU say.
        """
        manifest, name = self.manifest, self.processor.name
        if name is None or self.engine != manifest.proof.engine or self.options:
            return None
        what = [[f.sha256 for f in manifest.files], to_json(manifest.proof), to_json(self.processor)]
        text = json.dumps([*what, self.engine, self.version, manifest.precision.value])
        return f"{hashlib.sha256(text.encode()).hexdigest()[:40]}.json"


def question(manifest: Manifest, *, runtime: str | None = None, options: Mapping[str, str] = NO_OPTIONS) -> Question:
    """The question of a file on this machine.

    Args:
        manifest: The file's.
        runtime: What opens it here, its own where nothing is said.
        options: That the runtime is given.
    """
    name = runtime or manifest.runtime
    asked = Question(manifest=manifest, processor=this_processor(), engine=engine_of(name), version="", options=options)
    return dataclasses.replace(asked, version=version(name)) if asked.arises else asked


def check(
    session: Session,
    manifest: Manifest,
    name: str,
    *,
    runtime: str | None = None,
    options: Mapping[str, str] = NO_OPTIONS,
) -> Recheck | None:
    """Holds an open file to what it computed where it was proved, unless that was on this class of processors.

    Args:
        session: The file, open.
        manifest: The file's.
        name: The file's.
        runtime: What it is open in, its own runtime where nothing is said.
        options: That the runtime was given.

    Returns:
        What came of it, also where it was known from before; None where nothing had to be asked.

    Raises:
        ArtifactError: It computes something else here.
    """
    asked = question(manifest, runtime=runtime, options=options)
    return (asked.remembered() or asked.ask(session, name)) if asked.arises else None


def prove(
    answers: Mapping[str, Array], outputs: Sequence[TensorSpec], references: Sequence[Array], runtime: str
) -> Proof:
    """What a manifest keeps of the moment in which its file was proved.

    Args:
        answers: What the file computed of the probe pictures, by the outputs' names, in its own layout.
        outputs: What it returns.
        references: What it was compared with, in the order of ``outputs``, in NCHW.
        runtime: What it is open in.
    """
    kept = []
    for spec, reference in zip(outputs, references, strict=True):
        wanted = reference.transpose(0, 2, 3, 1) if spec.layout == "NHWC" else reference
        kept.append(expected(spec.name, answers[spec.name], wanted))
    return Proof(processor=this_processor(), engine=engine_of(runtime), outputs=tuple(kept))


def probes_for(manifest: Manifest) -> Array:
    """The probe pictures as a file takes them."""
    preprocess = manifest.model.preprocess
    return as_input(probe_pictures(preprocess.size), preprocess, manifest.input)


def limit_of(manifest: Manifest, engine: str, options: Mapping[str, str]) -> float:
    """How far answers may be from those at the proof, in this runtime with these options.

    Another runtime than the one of the proof is held to what a file is held to when it is proved.
    """
    if any(name in options for name in HALF_AS_FINE):
        return max(COARSEST, manifest.self_check.limit)
    if engine != manifest.proof.engine or options:
        return manifest.self_check.limit
    noise = max(output.noise for output in manifest.proof.outputs)
    limit = max(LEAST[manifest.precision.bits], NOISE[manifest.precision.scales] * noise)
    return min(limit, manifest.self_check.limit)


def remedy(manifest: Manifest) -> str:
    """What to do about a file that computes something else."""
    if manifest.precision.quantized:
        again = "export it again with this edgecvx"
        return again if manifest.format == "native" else f"{again}, or use fp32"  # of which there is no native file
    return "try another version of its runtime, or export it for another target"


def _folder() -> Path:
    return cache_folder() / "proved"
