"""Mistakes on the way from a picture to the network, recognized by making them on purpose.

Swapped colours or a forgotten normalization leave a network half right: the accuracy looks like that of a bad file. So
where an artifact's answers are noticeably off, the reference is fed wrongly, once for each usual mistake. If the
artifact agrees with one of these far better than with the reference that is fed correctly, that mistake is the finding,
and no accuracy is worth printing.

A mistake has to explain the artifact in three ways, so that noise, a broken file or a constant output never pass for
one: it takes away more than half of the noise, it makes nearly no picture worse, and the way the artifact's answers
vary from picture to picture is mostly the way the mistaken reference's vary. Quantization noise has no reason to point
where a mistake would; a few pictures with hundreds of outputs each are plenty to tell the two apart.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecvx.accuracy.reference import Reference
from edgecvx.data.dataset import Sample
from edgecvx.data.preprocess import normalize
from edgecvx.proof.metrics import row_powers, sqnr_db
from edgecvx.results.accuracy import Finding
from edgecvx.spec import IMAGENET_MEAN, IMAGENET_STD, PreprocessSpec

Array = NDArray[Any]
Feed = Callable[[Array, PreprocessSpec], Array]
"""From pixels, bytes in NHWC, to what the network gets, float32 in NHWC."""

PICTURES = 16
"""On which an explanation has to hold."""
FIRST = 4
"""On which each mistake is tried before the others are spent on it."""
_TOGETHER = 8
"""Mistakes that are tried at once, so that the few pictures of each fill the reference's batches."""
GOOD_DB = 50.0
"""Above it nothing needs explaining: FP16 files are at 55 to 70, FP32 files above 90, and no mistake is that small."""
_NOISE_LEFT = 0.5
_NEARLY_EVERY = 0.75
_ALIKE = 1.01
_FEW, _MANY = 0.3, 0.7
"""Shares of right answers: by chance alone, nobody goes from the one to the other by a wrong preprocessing."""
_VARIATION_LEFT = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """One way to feed a network wrongly; the right one has neither kind nor words."""

    kind: str
    what: str
    """Completes: "the network …"."""
    spec: PreprocessSpec
    """How pictures are resized, cropped and turned for it."""
    feed: Feed = normalize
    """The right way where the mistake lies in the spec."""


class InputPath:
    """The first pictures of a validation, fed to the reference rightly and wrongly; shared by its artifacts."""

    def __init__(self, reference: Reference, samples: Sequence[Sample]) -> None:
        self._reference = reference
        self.samples = tuple(samples[:PICTURES])
        self._answers: dict[tuple[str, PreprocessSpec], list[Array]] = {}

    def explain(self, actual: Sequence[Array], prepared: PreprocessSpec) -> Finding | None:
        """The mistake that explains an artifact's outputs, if they need explaining and one does.

        Args:
            actual: The artifact's outputs for the pictures, in the reference's order and layout.
            prepared: How the artifact's manifest has them prepared.
        """
        count = len(self.samples)
        as_is = _Distance(actual, self._fed(Mistake(kind="", what="", spec=self._reference.preprocess), count))
        if as_is.sqnr_db is None or as_is.sqnr_db >= GOOD_DB:
            return None
        found: list[tuple[float, Mistake, _Distance]] = []
        first = min(FIRST, count)
        tried = mistakes(self._reference.preprocess, prepared)
        self._feed(tried, first)
        for mistake in tried:
            early = _Distance([a[:first] for a in actual], self._fed(mistake, first))
            if not early.noise.sum() <= _NOISE_LEFT * as_is.noise[:first].sum():
                continue
            whole = _Distance(actual, self._fed(mistake, count))
            if whole.explains_better_than(as_is):
                found.append((float(whole.noise.sum()), mistake, whole))
        if not found:
            return None
        # The usual names come first in the list; a later one must be clearly better, not better by rounding.
        least = min(noise for noise, _, _ in found)
        _, mistake, explained = next(f for f in found if f[0] <= 1.25 * least or f[0] == least)
        return Finding(
            kind=mistake.kind,
            sentence=_sentence(mistake, prepared, self._reference.preprocess),
            pictures=count,
            sqnr_as_is_db=as_is.sqnr_db,
            sqnr_explained_db=explained.sqnr_db,
        )

    def doubt(self) -> str | None:
        """Whether the reference itself seems to be fed wrongly: far more of its answers are right another way.

        Weights from a file bring no preprocessing that could be relied on, and what was assumed at export holds for
        artifact and reference alike, so that comparing the two shows nothing. Labels do, where the mistake is gross.
        """
        truths = np.array([-1 if sample.label is None else sample.label for sample in self.samples])
        preprocess = self._reference.preprocess

        def correct(mistake: Mistake, count: int) -> int:
            return int(np.count_nonzero(self._fed(mistake, count)[0].argmax(axis=1) == truths[:count]))

        if len(truths) < PICTURES or (truths < 0).any():
            return None
        as_is = correct(Mistake(kind="", what="", spec=preprocess), PICTURES)
        if as_is > _FEW * PICTURES:
            return None
        tried = mistakes(preprocess, preprocess)
        self._feed(tried, FIRST)
        promising = [mistake for mistake in tried if correct(mistake, FIRST) >= _MANY * FIRST]
        scores = [(correct(mistake, PICTURES), mistake) for mistake in promising]
        most, mistake = max(scores, key=lambda score: score[0], default=(0, None))
        if mistake is None or most < _MANY * PICTURES:
            return None
        return (
            f"on the first {PICTURES} pictures the reference is right {as_is} times, and {most} times if it "
            f"{mistake.what}: {self._reference.spec.name} was exported with a preprocessing that looks wrong"
        )

    def _fed(self, mistake: Mistake, count: int) -> list[Array]:
        """The reference's outputs for the first pictures, fed with a mistake; each is computed once."""
        self._feed([mistake], count)
        return [outputs[:count] for outputs in self._answers[mistake.what, mistake.spec]]

    def _feed(self, mistakes: Sequence[Mistake], count: int) -> None:
        """Has the reference answer the first pictures, fed with each mistake; some at a time fill its batches."""
        for some in (mistakes[start : start + _TOGETHER] for start in range(0, len(mistakes), _TOGETHER)):
            images = [self._images(mistake, count) for mistake in some]
            outputs = self._reference.run(np.concatenate(images)) if sum(map(len, images)) else []
            ends = np.cumsum([len(fed) for fed in images])
            for mistake, fed, end in zip(some, images, ends, strict=True):
                if len(fed):
                    new = [output[end - len(fed) : end] for output in outputs]
                    known = self._answers.get((mistake.what, mistake.spec), [output[:0] for output in new])
                    both = zip(known, new, strict=True)
                    self._answers[mistake.what, mistake.spec] = [np.concatenate(pair) for pair in both]

    def _images(self, mistake: Mistake, count: int) -> Array:
        """What the network gets of those of the first pictures that it was not given yet."""
        known = self._answers.get((mistake.what, mistake.spec))
        start, side = len(known[0]) if known else 0, mistake.spec.size
        if start >= count:
            return np.empty((0, 3, side, side), np.float32)
        pixels = np.stack([sample.pixels(mistake.spec) for sample in self.samples[start:count]])
        images = mistake.feed(pixels, mistake.spec).transpose(0, 3, 1, 2)
        return np.ascontiguousarray(images, dtype=np.float32)


class _Distance:
    """How far outputs are from what some way of feeding makes of the same pictures."""

    def __init__(self, actual: Sequence[Array], fed: Sequence[Array]) -> None:
        signal = 0.0
        self.noise = np.zeros(len(fed[0]))
        """For each picture, relative to the signal of each output, so that every output counts."""
        varied, unexplained = 0.0, 0.0
        for a, f in zip(actual, fed, strict=True):
            powers, noises = row_powers(a, f)
            scale = max(float(powers.mean()), float(np.finfo(np.float64).tiny))
            self.noise += noises / scale
            signal += float(powers.sum()) / scale
            left, own = row_powers(a - a.mean(axis=0), f - f.mean(axis=0))[::-1]
            unexplained += float(left.sum()) / scale
            varied += float(own.sum()) / scale
        self.sqnr_db = sqnr_db(signal, float(self.noise.sum()))
        self.variation_left = unexplained / varied if varied > 0 else float("inf")

    def explains_better_than(self, other: _Distance) -> bool:
        return bool(
            self.noise.sum() <= _NOISE_LEFT * other.noise.sum()
            # A grey picture has no colours to swap: what a mistake leaves alone does not speak against it.
            and np.mean(self.noise <= _ALIKE * other.noise) >= _NEARLY_EVERY
            and self.variation_left <= _VARIATION_LEFT
        )


def mistakes(right: PreprocessSpec, prepared: PreprocessSpec) -> tuple[Mistake, ...]:
    """Every mistake that is tried, the usual ones first.

    Args:
        right: How the network's pictures are to be prepared.
        prepared: How the artifact's manifest has them prepared.
    """
    fed = (
        Mistake(kind=kind, what=what, feed=feed, spec=right)
        for kind, feeds in _FEEDS.items()
        for what, feed in feeds.items()
    )
    return (*fed, *_prepared_otherwise(right), *_as_declared(right, prepared))


def differences(right: PreprocessSpec, prepared: PreprocessSpec) -> tuple[str, ...]:
    """The fields in which two ways of preparing pictures differ."""
    names = (field.name for field in dataclasses.fields(right))
    return tuple(name for name in names if getattr(right, name) != getattr(prepared, name))


def _prepared_otherwise(right: PreprocessSpec) -> list[Mistake]:
    """The same normalization after another resize, crop or turn."""
    result = []
    for name in ("bilinear", "bicubic", "lanczos", "nearest"):
        if name != right.interpolation:
            what = f"gets pictures resized with {name} instead of {right.interpolation} interpolation"
            spec = dataclasses.replace(right, interpolation=name)
            result.append(Mistake(kind="interpolation", what=what, spec=spec))
    if right.crop_pct < 1.0:
        what = "gets the whole picture instead of its centre"
        result.append(Mistake(kind="crop", what=what, spec=dataclasses.replace(right, crop_pct=1.0)))
    resized = dataclasses.replace(right, resize="squash" if right.resize == "shortest" else "shortest")
    what = f"gets pictures resized by '{resized.resize}' instead of '{right.resize}'"
    result.append(Mistake(kind="resize", what=what, spec=resized))
    turned = dataclasses.replace(right, exif="ignore" if right.exif == "apply" else "apply")
    what = f"gets photos with their EXIF orientation {'ignored' if turned.exif == 'ignore' else 'applied'}"
    result.append(Mistake(kind="orientation", what=what, spec=turned))
    return result


def _as_declared(right: PreprocessSpec, prepared: PreprocessSpec) -> list[Mistake]:
    """What the manifest says, where that is not what the weights want."""
    names = differences(right, prepared)
    if not names or prepared.size != right.size:
        return []
    what = f"gets pictures prepared with another {', '.join(names)}"
    return [Mistake(kind="preprocessing", what=what, spec=prepared)]


def _sentence(mistake: Mistake, prepared: PreprocessSpec, right: PreprocessSpec) -> str:
    changed = [f"{n} {getattr(prepared, n)} instead of {getattr(right, n)}" for n in differences(right, prepared)]
    if changed:
        return f"the network {mistake.what}, because its manifest says {', '.join(changed)}: export it again"
    return (
        f"fed as its manifest says, the file answers as if the network {mistake.what}: the file is not the one that "
        "its manifest describes, or its input was changed; export it again"
    )


# --- feeds: NHWC bytes in, NHWC float32 out ------------------------------------------------------------------------


def _floats(pixels: Array) -> Array:
    return np.asarray(pixels, np.float32)


def _standardized(values: Array, spec: PreprocessSpec) -> Array:
    return np.asarray((values - np.asarray(spec.mean, np.float32)) / np.asarray(spec.std, np.float32))


def _normalized_bytes(pixels: Array, spec: PreprocessSpec) -> Array:
    """Normalized values cut down to bytes for a file that takes bytes and normalizes them itself."""
    return normalize(np.clip(normalize(pixels, spec), 0, 255).astype(np.uint8), spec)


def _channels_last_as_first(pixels: Array, spec: PreprocessSpec) -> Array:
    values = normalize(pixels, spec)
    n, height, width, channels = values.shape
    return np.asarray(values.reshape(n, channels, height, width).transpose(0, 2, 3, 1))


def _channels_first_as_last(pixels: Array, spec: PreprocessSpec) -> Array:
    values = normalize(pixels, spec)
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2)).reshape(values.shape)


_BYTE = np.float32(255)
_FEEDS: Mapping[str, Mapping[str, Feed]] = {
    "colour-order": {
        "gets BGR, red and blue swapped": lambda p, s: normalize(p[..., ::-1], s),
        "gets red and blue swapped after they were normalized": lambda p, s: normalize(p, s)[..., ::-1],
    },
    "missing-normalization": {
        "gets pixels from 0 to 1 without mean and standard deviation": lambda p, s: _floats(p) / _BYTE,
        "gets pixels from 0 to 255 as they are": lambda p, s: _floats(p),
        "gets pixels normalized without the division by 255": lambda p, s: _standardized(_floats(p), s),
    },
    "other-normalization": {
        "gets pixels from -1 to 1, another network's normalization": lambda p, s: _floats(p) / _BYTE * 2 - 1,
        "gets pixels normalized for ImageNet, as another network wants": (
            lambda p, s: normalize(p, dataclasses.replace(s, mean=IMAGENET_MEAN, std=IMAGENET_STD))
        ),
    },
    "double-normalization": {
        "gets mean and standard deviation applied twice": lambda p, s: _standardized(normalize(p, s), s),
        "gets normalized values that are normalized as pixels again": (
            lambda p, s: _standardized(normalize(p, s) / _BYTE, s)
        ),
        "gets pixels divided by 255 twice": lambda p, s: _standardized(_floats(p) / _BYTE / _BYTE, s),
        "gets normalized values cut down to bytes": _normalized_bytes,
    },
    "layout": {
        "gets channels-last values read as channels-first": _channels_last_as_first,
        "gets channels-first values read as channels-last": _channels_first_as_last,
        "gets height and width swapped": lambda p, s: normalize(p, s).transpose(0, 2, 1, 3),
    },
}
"""Kind of mistake -> what the network gets -> how; the usual ones first."""
