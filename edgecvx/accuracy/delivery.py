"""Pictures on their way to workers: by their path where workers see the same folder, else by their content."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgecvx.cluster.handle import Cluster
from edgecvx.data.dataset import Sample
from edgecvx.errors import ImageError
from edgecvx.files import file_sha256

_TRIED = 3
"""Pictures that every worker is asked to find before any is sent by its path."""


class Delivery:
    """How each picture of a validation is sent; held to its hash either way, by whoever opens it."""

    def __init__(self, cluster: Cluster, samples: Sequence[Sample]) -> None:
        files = [s for s in samples if s.path is not None]
        tried = [
            (str(s.path.absolute()), s.sha256) for s in files[:: max(1, len(files) // _TRIED)] if s.path is not None
        ]
        self._samples = {s.name: s for s in samples}
        self._by_path = not tried or all(answer is True for answer in cluster.ask_all(sees, tried).values())
        self._sent: set[str] = set()
        """Those that were sent with their content."""
        self.again: list[Sample] = []
        """Pictures that a worker did not find where they were said to be, to be sent again."""

    def packed(self, samples: Sequence[Sample]) -> tuple[Sample, ...]:
        """Pictures as they are sent; one that cannot be read here either is sent by its path, and so it is told."""
        return tuple(self._packed(sample) for sample in samples)

    def _packed(self, sample: Sample) -> Sample:
        if sample.path is None:
            return sample
        if not self._by_path or sample.name in self._sent:
            self._sent.add(sample.name)
            try:
                return dataclasses.replace(sample.loaded(), path=Path(sample.name))
            except ImageError:
                pass
        return dataclasses.replace(sample, path=sample.path.absolute())

    def lost(self, unreadable: Mapping[str, str]) -> Mapping[str, str]:
        """Pictures that cannot be decoded, and why; those that only the worker could not find go to ``again``."""
        lost = {}
        for name, reason in unreadable.items():
            sample = self._samples[name]
            if sample.path is None or name in self._sent:
                lost[name] = self._reason(sample, reason)
                continue
            self._sent.add(name)
            self.again.append(sample)
        return lost

    def _reason(self, sample: Sample, reason: str) -> str:
        """Why a picture cannot be read here, where it could not be sent for that."""
        try:
            sample.loaded()
        except ImageError as error:
            return str(error)
        return reason


def sees(pictures: Sequence[tuple[str, str]]) -> bool:
    """Whether this worker finds these pictures, by their hashes, where they are said to be."""
    try:
        return all(file_sha256(Path(path)) == sha256 for path, sha256 in pictures)
    except OSError:
        return False
