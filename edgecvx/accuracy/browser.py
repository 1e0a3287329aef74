"""A browser as the place where artifacts answer: pictures go there as they were saved, and logits come back.

The page decodes, prepares and runs them, as it does for whoever uses the file there; so what is compared with the
reference is the whole way, the browser's own decoder included. What comes back is a stranger's: it is held to the
shapes of the manifest.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import math
import threading
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgecvx.accuracy.inputpath import InputPath
from edgecvx.data.dataset import Sample
from edgecvx.errors import DeviceError, EdgecvxError, ImageError, RuntimeFailedError
from edgecvx.manifest import Manifest
from edgecvx.proof.selfcheck import channels_first
from edgecvx.results.accuracy import ArtifactIdentity, Finding
from edgecvx.results.untrusted import check_json, plain
from edgecvx.runtimes import NO_OPTIONS
from edgecvx.runtimes.proof import Recheck, limit_of, probes_for, remedy
from edgecvx.spec import PreprocessSpec, to_json
from edgecvx.web.visits.browsers import MACHINE
from edgecvx.web.visits.engines import ONLY, RUNTIME, engine_of
from edgecvx.web.visits.invitation import Invitation
from edgecvx.web.visits.patience import AGAIN, Patience
from edgecvx.web.visits.places import DONE, Place, Visit, wait_for_visit
from edgecvx.web.visits.server import opened

Array = NDArray[Any]

NAME = "browser"
_HEAD = 1 << 16
"""Bytes of the line before the numbers."""
_SILENCE = 600.0
"""Seconds that a batch of pictures takes on no device."""


class _Reopened(Exception):  # noqa: N818  # no error: it goes on
    """The page was opened anew; it has nothing open any more."""


@contextlib.contextmanager
def visited(invitation: Invitation) -> Iterator[VisitingBrowser]:
    """Serves the page until the block ends, and waits for the one browser that answers.

    Raises:
        DeviceError: Nobody came.
    """
    with opened(invitation, [NAME], "validate") as (place,):
        visit = wait_for_visit(place, threading.Event(), invitation.wait_seconds)
        if visit is None:
            raise DeviceError(f"{NAME}: it was stopped")
        yield VisitingBrowser(place, visit, invitation)
        place.close(DONE)


class VisitingBrowser:
    """The browser that has the place."""

    def __init__(self, place: Place, visit: Visit, invitation: Invitation) -> None:
        self._place, self._visit, self._invitation = place, visit, invitation
        self.browser = visit.browser
        self._task = 0

    def engine(self, path: Path, threads: int | None) -> tuple[str, bytes]:
        """Which engine it takes for an artifact, and its bytes.

        Raises:
            RuntimeUnavailableError: There is none.
        """
        return engine_of(path, threads, relaxed=self.browser.told.relaxed)

    def identity(self, path: Path, identity: ArtifactIdentity, threads: int | None) -> ArtifactIdentity:
        """Of an artifact that is run here: ``edgecvx engine``, ``in Chrome 156 (wasm32-relaxed)``."""
        platform = MACHINE
        with contextlib.suppress(EdgecvxError):  # which is told where it is opened
            platform, _ = self.engine(path, threads)
        version = f"in {self.browser.short} ({platform})"
        return dataclasses.replace(identity, runtime="edgecvx engine", runtime_version=version)

    def key(self, path: Path, threads: int | None) -> Mapping[str, Any]:
        """What answers depend on here, beside artifact and picture: the builds of engine and browser, the system."""
        with contextlib.suppress(EdgecvxError):
            engine = hashlib.sha256(self.engine(path, threads)[1]).hexdigest()
            browser = [self.browser.name, self.browser.version, self.browser.system, self.browser.told.architecture]
            return {"engine": engine, "browser": browser, "processor": [MACHINE]}
        return {}  # it cannot be opened either, and is told why there

    def open(self, path: Path, manifest: Manifest, threads: int | None, of: int) -> BrowserArtifact:
        """Opens an artifact there, of which so many pictures are asked.

        Raises:
            EdgecvxError: A browser runs no such file, or refused it.
        """
        if manifest.runtime != RUNTIME:
            raise RuntimeFailedError(f"{path.name}: {ONLY}")
        return BrowserArtifact(self, path, manifest, threads, of)

    def ask(self, document: Mapping[str, Any], files: Mapping[str, Path | bytes], longest: int) -> tuple[Any, bytes]:
        """One question, and what came back: the line before the numbers, and those.

        Raises:
            DeviceError: The page is gone, or sent what no page of ours sends.
            RuntimeFailedError: It could not do it; its own words.
            _Reopened: The page was opened anew.
        """
        self._task += 1
        visit = self._visit
        visit.files, visit.longest = files, _HEAD + longest
        visit.ask({**document, "task": self._task})
        patience = Patience(self._invitation, NAME, _SILENCE)
        while True:
            if visit.left.is_set():
                self._place.changed.clear()
                self._visit = self._place.visit or visit
                raise _Reopened
            if visit.broken is not None:
                raise DeviceError(f"{NAME}: {visit.broken}")
            body = visit.read()
            patience.check(visit, heard=body is not None, progress="in the middle of the validation")
            if body is not None:
                return self._checked(body)

    def _checked(self, body: bytes) -> tuple[Any, bytes]:
        line, _, numbers = body.partition(b"\n")
        try:
            head = check_json(json.loads(line[:_HEAD]))
            task, error = head["task"], head["error"]
        except (EdgecvxError, ValueError, TypeError, KeyError, RecursionError):
            raise DeviceError(f"{NAME}: its page sent {line[:80]!r}, which is no answer") from None
        if task != self._task:
            raise DeviceError(f"{NAME}: its page answered what was not asked")
        if error is not None:
            raise RuntimeFailedError(f"{NAME}: {plain(str(error))}")
        return head, numbers


class BrowserArtifact:
    """An artifact, open in a browser; see ``feeding.FedArtifact``."""

    def __init__(self, visiting: VisitingBrowser, path: Path, manifest: Manifest, threads: int | None, of: int) -> None:
        self._visiting, self._name, self._manifest, self._threads = visiting, path.name, manifest, threads
        self._of, self._done = of, 0
        self._platform, engine = visiting.engine(path, threads)
        self._files: Mapping[str, Path | bytes] = {
            "model.ecvx": path,
            "engine.wasm": engine,
            "probes.npy": _saved(probes_for(manifest)),
        }
        self._limit = limit_of(manifest, RUNTIME, NO_OPTIONS)
        self.recheck = self._opened()

    def __enter__(self) -> BrowserArtifact:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing: the page closes it when it is asked for another, or ends."""

    def explained(self, input_path: InputPath) -> Finding | None:
        """The mistake in the way to this file that explains its answers, if one does."""
        unreadable: dict[str, str] = {}
        kept, found = self.answers(input_path.samples, None, unreadable)
        if len(kept) < len(input_path.samples):
            return None
        return input_path.explain(found, self._manifest.model.preprocess)

    def answers(
        self, samples: Sequence[Sample], _: object, unreadable: MutableMapping[str, str]
    ) -> tuple[list[int], list[Array]]:
        """Which of the pictures were read, and the outputs for those, in the manifest's order, NCHW or NC; finite."""
        preprocess = self._manifest.model.preprocess
        contents: dict[str, Path | bytes] = {f"{i}": _encoded(s, preprocess) for i, s in enumerate(samples)}
        document = {"do": "run", "pictures": list(contents), "done": self._done, "of": self._of}
        head, numbers = self._again(document, contents, 4 * len(samples) * sum(self._sizes))
        unread = head.get("unread")
        if not isinstance(unread, list) or len(unread) != len(samples):
            raise DeviceError(f"{NAME}: its page does not say which of {len(samples)} pictures it read")
        kept = [i for i, reason in enumerate(unread) if reason is None]
        unreadable.update(
            {s.name: f"in the browser: {r}" for s, r in zip(samples, unread, strict=True) if r is not None}
        )
        self._done += len(samples)
        return kept, self._outputs(numbers, [samples[i] for i in kept])

    @property
    def _sizes(self) -> list[int]:
        """Numbers of each output for one picture."""
        return [math.prod(spec.shape[1:]) for spec in self._manifest.outputs]

    def _opened(self) -> Recheck:
        manifest = self._manifest
        artifact = {
            **{"path": "model.ecvx", "wasm": "engine.wasm", "probes": "probes.npy", "threads": self._threads or 1},
            "preprocess": to_json(manifest.model.preprocess),
            **{"proof": to_json(manifest.proof), "limit": self._limit, "remedy": remedy(manifest)},
        }
        head, _ = self._visiting.ask({"do": "open", "artifact": artifact}, self._files, 0)
        error = head.get("proof_error")
        if not isinstance(error, int | float) or not 0 <= error <= self._limit:
            raise DeviceError(f"{NAME}: a file that is off by {plain(str(error), 40)} was not to be opened")
        wanted = [{"name": spec.name, "shape": list(spec.shape)} for spec in manifest.outputs]
        if head.get("outputs") != wanted:
            raise RuntimeFailedError(
                f"{self._name} has other outputs in the browser than its manifest says: export it again"
            )
        here = f"{self._platform} in {self._visiting.browser.short}"
        return Recheck(
            proved=manifest.proof.there(RUNTIME, NO_OPTIONS), here=here, error=float(error), limit=self._limit
        )

    def _again(self, document: Mapping[str, Any], files: Mapping[str, Path | bytes], longest: int) -> tuple[Any, bytes]:
        """Asks, and once more where the page was opened anew meanwhile."""
        for _ in range(AGAIN):
            with contextlib.suppress(_Reopened):
                return self._visiting.ask(document, files, longest)
            while True:
                with contextlib.suppress(_Reopened):
                    self._opened()
                    break
        raise DeviceError(f"{NAME}: its page was opened anew {AGAIN} times within {len(files)} pictures")

    def _outputs(self, numbers: bytes, samples: Sequence[Sample]) -> list[Array]:
        """The numbers of each picture, one output behind the other, as arrays."""
        sizes = self._sizes
        if len(numbers) != 4 * len(samples) * sum(sizes):
            raise DeviceError(
                f"{NAME}: its page sent {len(numbers)} bytes of numbers for {len(samples)} pictures of "
                f"{4 * sum(sizes)} bytes each"
            )
        rows = np.frombuffer(numbers, "<f4").reshape(len(samples), sum(sizes)).astype(np.float32)
        broken = ~np.isfinite(rows).all(axis=1)
        if broken.any():
            raise RuntimeFailedError(
                f"{self._name} gives NaN or infinite values in the browser for the picture "
                f"{samples[int(broken.argmax())].name}: no figure can be made of that"
            )
        parts = np.split(rows, np.cumsum(sizes)[:-1], axis=1)
        specs = self._manifest.outputs
        return [
            channels_first(part.reshape(len(samples), *spec.shape[1:]), spec.layout)
            for part, spec in zip(parts, specs, strict=True)
        ]


def _encoded(sample: Sample, spec: PreprocessSpec) -> bytes:
    """A picture as it was saved; a drawn one as a PNG of the size it is drawn in."""
    if sample.path is not None:
        content = sample.path.read_bytes()
        if hashlib.sha256(content).hexdigest() != sample.sha256:
            raise ImageError(f"{sample.name} was changed while it was in use")
        return content
    with io.BytesIO() as stream:
        image: Image.Image = sample.open(spec)
        image.save(stream, "PNG", compress_level=1)
        return stream.getvalue()


def _saved(array: Array) -> bytes:
    with io.BytesIO() as stream:
        np.save(stream, array, allow_pickle=False)
        return stream.getvalue()
