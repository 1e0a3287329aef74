"""From the bytes of a picture file to the five likeliest classes, each part timed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from edgecvx.board.engines.base import Refused, Session, one_line
from edgecvx.board.runner.order import Artifact

PARTS = ("decode", "prepare", "infer", "rank")
TOP = 5
_FIRST_RUNS = 3


class Unsuited(Refused):
    """There is no end to end for this artifact; the message is a sentence."""


class EndToEnd:
    """Takes the pictures in turn, a batch at a time; their files were read before, for a disk is not measured here."""

    def __init__(self, session: Session, artifact: Artifact, pictures: Sequence[bytes]) -> None:
        try:
            from edgecvx.board import pictures as pixels
        except ModuleNotFoundError as error:
            if error.name != "PIL":
                raise
            raise Unsuited(
                "Pillow is not installed on the device, and decodes the pictures: python3 -m pip install pillow"
            ) from None
        if artifact.preprocess is None:
            raise Unsuited("nothing is known about how pictures are prepared for this file")
        names = [output.name for output in session.outputs]
        if artifact.logits not in names:
            raise Unsuited("this file has no output that ranks classes")
        if artifact.input.dtype == "int8":
            raise Unsuited("the file takes int8, whose scale no preprocessing knows")
        if not pictures:
            raise Unsuited("there are no pictures to measure with")
        self._pixels, self._session, self._artifact = pixels, session, artifact
        self._logits = names.index(artifact.logits)
        self._spec = pixels.read_preprocess(artifact.preprocess)
        self._pictures, self._next = pictures, 0
        self.parts: dict[str, list[int]] = {part: [] for part in PARTS}
        """How long each part took, by sample."""
        try:
            # Pillow loads its decoders with the first picture; and a picture that cannot be read is found here.
            for _ in range(max(_FIRST_RUNS, -(-len(pictures) // artifact.input.shape[0]))):
                self.sample()
        except pixels.PictureError as error:
            raise Unsuited(f"a picture cannot be used on the device: {one_line(error)}") from error

    def sample(self) -> int:
        """One batch from files to classes; the time, with its parts appended to ``parts``."""
        clock, pixels, spec = time.perf_counter_ns, self._pixels, self._spec
        decode = prepare = 0
        rows: list[Any] = []
        started = now = clock()
        for _ in range(self._artifact.input.shape[0]):
            image = pixels.decode(self._pictures[self._next % len(self._pictures)], spec)
            self._next += 1
            decoded = clock()
            rows.append(pixels.resize_and_crop(image, spec))
            cropped = clock()
            decode += decoded - now
            prepare += cropped - decoded
            now = cropped
        batch = pixels.as_input(pixels.stack(rows), spec, self._artifact.input)
        prepared = clock()
        outputs = self._session.run(batch)
        inferred = clock()
        pixels.best(outputs[self._logits], TOP)
        ended = clock()
        times = (decode, prepare + prepared - now, inferred - prepared, ended - inferred)
        for part, took in zip(PARTS, times):  # `strict` came with Python 3.10
            self.parts[part].append(took)
        return ended - started
