"""The pictures that a quantization is calibrated on: which ones, and what is wrong with them.

From a folder they are chosen as a validation chooses (``edgecvx.data.dataset``): spread over its sub-folders, shuffled
by the hash of their names, each content once. The content hashes are the ones a validation excludes by.

A set that is too small or too uniform gives ranges that fit it and nothing else. What cannot be calibrated on is an
error; what is merely weak gets a sentence.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from edgecvx.data.dataset import DEMO, TWICE, Sample, choose, decoded, drawn_sample
from edgecvx.data.folder import Skipped, list_pictures, named_folder, unexpected
from edgecvx.data.preprocess import as_input
from edgecvx.errors import EdgecvxError, ImageError, UsageError
from edgecvx.spec import CALIBRATION_PICTURES, Calibration, PreprocessSpec, TensorSpec

Array = NDArray[Any]

FEW = 32
"""Below this, ranges still depend on which pictures happened to be taken (``docs/quantization.md``)."""
_STEP = 2
"""Pictures that a decoder takes at a time: these are in use, and as many with each of the decoders."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationSet:
    """Pictures chosen to calibrate on, not yet decoded."""

    kind: Literal["demo", "folder"]
    name: str
    """Of the folder, without the path to it."""
    asked: int
    samples: tuple[Sample, ...]
    skipped: tuple[Skipped, ...] = ()
    """What was left out of the folder, without what nobody expects to be read: hidden files, links to folders."""


def open_calibration(source: str | Path, *, samples: int = CALIBRATION_PICTURES) -> CalibrationSet:
    """Chooses the pictures to calibrate on.

    Args:
        source: A folder, or ``demo`` for drawn pictures; ``./demo`` is the folder.
        samples: How many at most.

    Raises:
        UsageError: ``samples`` is not at least 1, or the folder holds no picture.
        EdgecvxError: The folder cannot be listed.
    """
    if samples < 1:
        raise UsageError(f"--calib-samples {samples} does not work: at least one picture is needed")
    if source == DEMO:
        drawn = tuple(drawn_sample("calibration", index) for index in range(samples))
        return CalibrationSet(kind="demo", name=DEMO, asked=samples, samples=drawn)
    folder = named_folder(source)
    listing = list_pictures(folder)
    name = folder.resolve().name
    folders = {folder: index for index, folder in enumerate(("", *listing.folders))}
    found = [Sample(name=p.name, label=folders[p.folder or ""], sha256="", path=p.path) for p in listing.pictures]
    chosen, _, left_out = choose(found, samples, seed=0)
    skipped = [*unexpected(listing.skipped), *left_out]
    if not chosen:
        reason = f", such as {skipped[0].name!r} ({skipped[0].reason})" if skipped else ""
        raise UsageError(
            f"{name}: there is no picture to calibrate on ({len(skipped)} left out{reason}); give a folder with "
            "some hundred pictures like those the network will see"
        )
    return CalibrationSet(kind="folder", name=name, asked=samples, samples=chosen, skipped=tuple(skipped))


@dataclass(slots=True)
class CalibrationFeed:
    """One pass over the pictures, and afterwards what it was made of."""

    chosen: CalibrationSet
    spec: PreprocessSpec
    """How they are prepared."""
    tensor: TensorSpec
    """What the graph takes."""
    used: list[Sample] = field(default_factory=list)
    plain: list[Sample] = field(default_factory=list)
    """Those of a single colour."""
    unreadable: dict[str, str] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Array]:
        """The pictures one by one, as the graph takes them; a few are decoded ahead, never all.

        Raises:
            ImageError: None of them can be decoded.
        """
        self.used, self.plain, self.unreadable = [], [], {}
        for samples, (pixels,) in decoded(self.chosen.samples, (self.spec,), _STEP, self.unreadable):
            for sample, picture in zip(samples, pixels, strict=True):
                self.used.append(sample)
                if (picture == picture[0, 0]).all():
                    self.plain.append(sample)
                yield as_input(picture[None], self.spec, self.tensor)
        if not self.used:
            name, reason = next(iter(self.unreadable.items()))
            raise ImageError(
                f"{self.chosen.name}: none of the {len(self.unreadable)} pictures can be decoded, {name!r} for one "
                f"({reason}), so there is nothing to calibrate on"
            )

    @property
    def calibration(self) -> Calibration:
        """What was calibrated on: the pictures that the pass really gave.

        Raises:
            EdgecvxError: There was no pass yet.
        """
        if not self.used:
            raise EdgecvxError("nothing was calibrated yet: the pictures have to be run first")
        hashes = tuple(sample.sha256 for sample in self.used)
        return Calibration(
            kind=self.chosen.kind,
            name=self.chosen.name,
            count=len(hashes),
            sha256=hashlib.sha256("".join(f"{h}\n" for h in hashes).encode()).hexdigest(),
            pictures=hashes,
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should know about the pictures, in sentences; complete after the pass."""
        name, used = self.chosen.name, len(self.used)
        twice = sum(s.reason.startswith(TWICE) for s in self.chosen.skipped)
        bad = [s for s in self.chosen.skipped if not s.reason.startswith(TWICE)]
        bad += [Skipped(name=n, reason=why) for n, why in self.unreadable.items()]
        sentences = []
        if bad:
            sentences.append(
                f"{name}: {_files(len(bad))} left out of the calibration, such as {bad[0].name!r} ({bad[0].reason})"
            )
        if used < self.chosen.asked:
            sentences.append(
                f"{name}: {used} of the {self.chosen.asked} pictures asked for are there; all of them are used"
            )
        if twice > used:
            sentences.append(
                f"{name}: {_files(twice)} repeats of others and left out: the set is less varied than it looks"
            )
        if used == 1:
            sentences.append(
                f"{name}: calibrated on one single picture; the ranges fit it, and hardly the next one: give at least "
                f"{FEW}, better {CALIBRATION_PICTURES}"
            )
        elif used < FEW:
            sentences.append(
                f"{name}: calibrated on only {used} pictures; from {FEW} on ranges become stable, "
                f"{CALIBRATION_PICTURES} are usual"
            )
        if self.plain:
            whole = "every one" if len(self.plain) == used else f"{len(self.plain)}"
            sentences.append(
                f"{name}: {whole} of the {used} calibration pictures has one single colour, such as "
                f"{self.plain[0].name!r}; the network sees nothing in such a picture that a range could be taken from"
            )
        return tuple(sentences)


def _files(count: int) -> str:
    return "1 file is" if count == 1 else f"{count} files are"
