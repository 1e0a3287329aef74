"""The files of a search: exported once, kept by content below ``OUT/work/files``, found again by a stopped run."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import edgecvx
from edgecvx.data.calibration import open_calibration
from edgecvx.errors import EdgecvxError, UsageError
from edgecvx.files import read_artifact, write_atomically
from edgecvx.manifest import Manifest
from edgecvx.spec import Precision
from edgecvx.sweep.job import hash_of, versions
from edgecvx.targets import get_target
from edgecvx.tune.request import CALIBRATED_ON, Model, Request
from edgecvx.tune.space import Candidate, space
from edgecvx.tune.space.forced import write_forced

MADE = "made.json"
"""Written last: a folder without it holds no file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file that was written and proved."""

    path: Path
    manifest: Manifest
    seconds: float
    """That writing it took."""

    @property
    def bytes(self) -> int:
        """Of all its parts."""
        return sum(entry.bytes for entry in self.manifest.files)


@dataclass(slots=True)
class Workshop:
    """Writes files, each once."""

    request: Request
    models: Mapping[str, Model]
    made: dict[str, File] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    """File key -> why there is none."""
    seconds: float = 0.0
    """Spent on writing, in this run."""
    _calibration: str | None = None

    @property
    def work(self) -> Path:
        """Where everything lies that a later run takes up again."""
        return self.request.out / "work"

    def key(self, candidate: Candidate) -> str:
        """Names a file by all it is made from."""
        model = self.models[candidate.model]
        made_from: dict[str, Any] = {
            **model.content,
            "labels": model.spec.labels,
            "size": candidate.size,
            "target": candidate.target,
            "precision": candidate.precision.value,
            "decisions": dict(candidate.decisions),
            "edgecvx": edgecvx.__version__,
            "tools": versions(get_target(candidate.target).format.tools),
        }
        if candidate.precision.calibrated:
            made_from["calibration"] = self.calibration
        return hash_of(made_from)[:24]

    @property
    def calibration(self) -> str:
        """The content of the calibration pictures."""
        if self._calibration is None:
            chosen = open_calibration(self.request.calib, samples=CALIBRATED_ON)
            self._calibration = hash_of([s.sha256 for s in chosen.samples])
        return self._calibration

    def file(self, candidate: Candidate) -> File:
        """A candidate's file.

        Raises:
            EdgecvxError: It cannot be written.
        """
        key = self.key(candidate)
        if key not in self.made and key not in self.failed:
            self.write([candidate])
        if key in self.failed:
            raise EdgecvxError(self.failed[key])
        return self.made[key]

    def write(
        self,
        candidates: Iterable[Candidate],
        tell: Callable[[str, int, int], None] = lambda name, done, of: None,
    ) -> None:
        """Writes what is not there: files without decisions of one network together, all others by their plans.

        Args:
            candidates: Whose files are wanted.
            tell: Called before each file.
        """
        todo = {self.key(c): c for c in candidates}
        todo = {key: c for key, c in todo.items() if key not in self.failed and not self._find(key)}
        for done, (key, candidate) in enumerate(todo.items()):
            tell(candidate.title, done, len(todo))
            began = time.monotonic()
            try:
                self.made[key] = self._write(key, candidate)
            except UsageError:
                raise
            except EdgecvxError as error:
                self.failed[key] = str(error)
            self.seconds += time.monotonic() - began

    def plan(self, model: str, size: int) -> Path:
        """The calibrated plan of a network: made with its first INT8 file, and taken for all others."""
        made_from = {**self.models[model].content, "size": size, "calibration": self.calibration}
        return self.work / "plans" / f"{hash_of(made_from)[:24]}.json"

    def _find(self, key: str) -> bool:
        folder = self.work / "files" / key
        if key in self.made:
            return True
        try:
            made = json.loads((folder / MADE).read_text(encoding="utf-8"))
            path, manifest = read_artifact(folder / made["file"])
        except (OSError, ValueError, KeyError, EdgecvxError):
            return False
        self.made[key] = File(path=path, manifest=manifest, seconds=float(made["seconds"]))
        return True

    def _write(self, key: str, candidate: Candidate) -> File:
        folder = self.work / "files" / key
        plan = self._plan_for(candidate) if candidate.precision.calibrated else None
        model = self.models[candidate.model]
        pictures = {"calib": self.request.calib, "calib_samples": CALIBRATED_ON}
        options: dict[str, Any] = (
            {} if not candidate.precision.calibrated else pictures if plan is None else {"plan": plan}
        )
        exported = edgecvx.export(
            model.given,
            target=candidate.target,
            precision=candidate.precision,
            weights=model.weights,
            image_size=candidate.size,
            labels=model.labels,
            preprocess=model.preprocess,
            name=None if model.module is None else model.name,
            out=folder,
            **options,
        )
        (artifact,) = exported.artifacts
        self._keep_plan(candidate, folder)
        made = {"file": artifact.path.name, "seconds": round(artifact.seconds, 3), "candidate": candidate.title}
        write_atomically(folder / MADE, (json.dumps(made, indent=1) + "\n").encode())
        path, manifest = read_artifact(artifact.path)
        return File(path=path, manifest=manifest, seconds=artifact.seconds)

    def _plan_for(self, candidate: Candidate) -> Path | None:
        """The plan a file is made with; None where it is to calibrate."""
        calibrated = self.plan(candidate.model, candidate.size)
        if not candidate.decisions:
            return calibrated if calibrated.exists() else None
        if not calibrated.exists():  # whoever has decisions was preceded by the plain file
            self.file(
                Candidate(model=candidate.model, size=candidate.size, target=candidate.target, precision=Precision.INT8)
            )
        found = space(get_target(candidate.target), self.models[candidate.model].spec.arch).decisions
        return write_forced(calibrated, found, candidate, self.work / "plans")

    def _keep_plan(self, candidate: Candidate, folder: Path) -> None:
        kept = self.plan(candidate.model, candidate.size) if candidate.precision.calibrated else None
        for path in folder.glob("*.plan.json"):
            if kept is not None and not kept.exists():
                write_atomically(kept, path.read_bytes())
