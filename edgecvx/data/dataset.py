"""The labelled pictures that a validation runs over: which ones, in which order, and what each of them shows.

Where the right answers come from:

- a folder with one sub-folder per class, as everybody has them;
- any folder and a label file (``truth``), one line per picture or sub-folder: ``name label``, or CSV with the name in
  the first column and the label in the second, and perhaps a header;
- a folder without classes, or ``truth="none"``: nothing is right or wrong, answers are compared only;
- ``demo``: drawn pictures, with labels where the network knows their classes.

A picture counts once: content that was seen before, under whatever name, is left out, and so is content that the
artifacts were calibrated on. What cannot be read is left out too, and named.

The order is a shuffle of all pictures, by the hash of seed and name, dealt out class by class: every beginning of it
is as balanced over the classes as the folder allows, a limit takes the beginning, and a larger limit keeps the pictures
of a smaller one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image

from edgecvx.data import demo
from edgecvx.data.folder import Skipped, list_pictures, named_folder
from edgecvx.data.preprocess import load_picture, resize_and_crop
from edgecvx.data.streaming import prepared
from edgecvx.data.truth import class_indices, match_truth, plain, read_truth
from edgecvx.errors import ImageError, UsageError
from edgecvx.files import file_sha256
from edgecvx.spec import PreprocessSpec

DEMO = "demo"
NO_TRUTH = "none"
DEMO_PICTURES = 1000
"""How many drawn pictures serve where no limit is given: enough for the default gate if next to nothing flips."""
MAX_BYTES = 256 << 20
"""Of one picture file: it is read whole, so that what is hashed is what is decoded."""
_DECODERS = 2
"""Batches that are decoded at once: Pillow works outside of Python, and photos of twelve megapixels take longer than a
small network does."""
TWICE = "the same content as another picture"
"""Why a picture is left out that counts under another name."""

Kind = Literal["class-folders", "label-file", "unlabelled", "demo"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One picture that was chosen, not yet decoded."""

    name: str
    label: int | None
    sha256: str
    """Of its content: the bytes of the file, or the drawing program and what it is asked to draw."""
    path: Path | None
    """None for a drawn picture."""
    index: int = 0
    """Of a drawn picture."""
    stream: demo.Stream = "validation"
    """Of a drawn picture."""
    content: bytes | None = None
    """The file's, where it was read already."""

    def open(self, spec: PreprocessSpec) -> Image.Image:
        """Decodes the picture.

        Raises:
            ImageError: It cannot be read, or is no longer the one that was chosen.
        """
        if self.path is None:
            pixels, _ = demo.picture(self.index, stream=self.stream, size=spec.resized)
            return Image.fromarray(pixels)
        try:
            return load_picture(self.loaded().content or b"", spec)
        except ImageError as error:
            raise ImageError(str(error).removeprefix("the picture: ")) from None

    def loaded(self) -> Sample:
        """The same with its content; a drawn picture has none.

        Raises:
            ImageError: It cannot be read, or is no longer the one that was chosen.
        """
        if self.path is None or self.content is not None:
            return self
        try:
            content = self.path.read_bytes()
        except OSError as error:
            raise ImageError(f"cannot be read ({error.strerror})") from None
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise ImageError("was changed while it was in use")
        return dataclasses.replace(self, content=content)

    def pixels(self, spec: PreprocessSpec) -> NDArray[np.uint8]:
        """What the network sees, before normalization: ``size`` x ``size`` RGB bytes."""
        return np.asarray(resize_and_crop(self.open(spec), spec))


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Pictures in the order they will be run in."""

    kind: Kind
    name: str
    samples: tuple[Sample, ...]
    classes: Mapping[int, str]
    """What the data calls its classes, by index; empty without labels."""
    available: int
    excluded: int
    """Left out for their content, as calibration pictures."""
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...] = ()
    """Sentences the user should read."""

    @property
    def labelled(self) -> bool:
        """Whether there is a right answer."""
        return bool(self.samples) and self.samples[0].label is not None

    @property
    def sha256(self) -> str:
        """Over the content and the labels of the chosen pictures, in order."""
        total = hashlib.sha256()
        for sample in self.samples:
            total.update(f"{sample.sha256} {sample.label}\n".encode())
        return total.hexdigest()


def open_data(
    data: str | Path,
    *,
    num_classes: int,
    labels: Sequence[str] | None = None,
    truth: str | Path | None = None,
    limit: int | None = None,
    seed: int = 0,
    exclude: Collection[str] = (),
) -> Dataset:
    """Finds the pictures of a validation.

    Args:
        data: A folder, or ``demo``; ``./demo`` is the folder.
        num_classes: Of the network; 0 if it has no classifier.
        labels: The network's own class names, if it has any.
        truth: A label file, ``none`` to leave the labels aside, or None to take the sub-folders for the classes.
        limit: The most pictures to take; None for all (of drawn pictures, ``DEMO_PICTURES``).
        seed: Of the order.
        exclude: SHA-256 of content to leave out.

    Raises:
        UsageError: The path is empty, the labels do not fit the network, or nothing is left to run.
        EdgecvxError: The folder cannot be listed.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"--limit {limit} does not work: at least one picture is needed")
    if data == DEMO:
        if truth not in (None, NO_TRUTH):
            raise UsageError("drawn pictures bring their labels: leave the label file out")
        return _drawn(num_classes, labels, limit or DEMO_PICTURES, seed, labelled=truth is None)
    found = _listed(named_folder(data), num_classes, labels, truth)
    samples, excluded, twice = choose(found.samples, limit, seed, frozenset(exclude))
    if not samples:
        reasons = [f"{n} {reason}" for reason, n in Counter(s.reason for s in found.skipped).most_common(5)]
        parts = [f"{excluded} excluded as calibration pictures"] if excluded else []
        parts += [f"left out: {', '.join(reasons)}"] if reasons else []
        why = f" ({'; '.join(parts)})" if parts else ""
        raise UsageError(f"{found.name}: there is no picture to run{why}")
    skipped = tuple(sorted((*found.skipped, *twice), key=lambda s: s.name))
    return dataclasses.replace(found, samples=samples, excluded=excluded, skipped=skipped)


def decoded(
    samples: Sequence[Sample], specs: Sequence[PreprocessSpec], batch: int, unreadable: MutableMapping[str, str]
) -> Iterator[tuple[list[Sample], list[NDArray[np.uint8]]]]:
    """Batches of pictures, prepared in each of these ways; the next are decoded while one is in use.

    Args:
        samples: The pictures.
        specs: How they are to be prepared; each gives one array per batch.
        batch: Pictures per batch; those that cannot be read leave theirs smaller.
        unreadable: Takes the names of those, and why.
    """
    chunks = [samples[start : start + batch] for start in range(0, len(samples), batch)]
    decode = functools.partial(_decode, specs=specs)
    for readable, pixels, lost in prepared(decode, chunks, threads=_DECODERS):
        unreadable.update(lost)
        if readable:
            yield readable, pixels


def _decode(
    samples: Sequence[Sample], specs: Sequence[PreprocessSpec]
) -> tuple[list[Sample], list[NDArray[np.uint8]], dict[str, str]]:
    readable, pictures, lost = [], [], {}
    for sample in samples:
        try:
            loaded = sample.loaded()
            pixels = {spec: loaded.pixels(spec) for spec in dict.fromkeys(specs)}  # equal ways of preparing are one
        except ImageError as error:
            lost[sample.name] = str(error)
            continue
        readable.append(sample)
        pictures.append([pixels[spec] for spec in specs])
    return readable, [np.stack(column) for column in zip(*pictures, strict=True)], lost


def content_hashes(folder: Path) -> frozenset[str]:
    """The SHA-256 of every picture file below a folder, to be excluded from a validation.

    What cannot be read is left out: it is left out of every validation, too.
    """
    hashes = set()
    for picture in list_pictures(folder).pictures:
        with contextlib.suppress(ImageError):
            hashes.add(_sha256_of(picture.path))
    return frozenset(hashes)


def drawn_sample(stream: demo.Stream, index: int, label: int | None = None) -> Sample:
    """A picture that is drawn."""
    sha256 = demo_sha256(stream, index)
    return Sample(name=f"demo/{stream}/{index}", label=label, sha256=sha256, path=None, index=index, stream=stream)


def demo_sha256(stream: demo.Stream, index: int) -> str:
    """Stands for the content of a drawn picture: the program that draws it, what that draws with, and what is asked."""
    return hashlib.sha256(f"{_drawing_program()} {stream} {index}".encode()).hexdigest()


@functools.cache
def _drawing_program() -> str:
    program = hashlib.sha256(Path(demo.__file__).read_bytes()).hexdigest()
    return f"{program} numpy {np.__version__} Pillow {PIL.__version__}"


def _drawn(num_classes: int, labels: Sequence[str] | None, limit: int, seed: int, *, labelled: bool) -> Dataset:
    """The first ``limit`` drawn pictures; they come class by class already. The seed moves the beginning."""
    notes: tuple[str, ...] = ()
    indices: dict[str, int] = {}
    if labelled and labels is not None and {plain(n) for n in demo.CLASSES} <= {plain(n) for n in labels}:
        indices = class_indices(demo.CLASSES, num_classes, labels, "the drawn pictures")
    elif labelled and num_classes:
        notes = (
            f"the drawn pictures show {len(demo.CLASSES)} classes that this network does not know: answers are "
            "compared, accuracy is not measured",
        )
    first = seed * 1_000_000
    samples = tuple(
        drawn_sample("validation", index, indices[demo.CLASSES[index % len(demo.CLASSES)]] if indices else None)
        for index in range(first, first + limit)
    )
    return Dataset(
        kind="demo",
        name=DEMO,
        samples=samples,
        classes={index: name for name, index in indices.items()},
        available=limit,
        excluded=0,  # the streams are disjoint, so no drawn picture is ever calibrated and validated on
        skipped=(),
        notes=notes,
    )


def _listed(folder: Path, num_classes: int, labels: Sequence[str] | None, truth: str | Path | None) -> Dataset:
    """Every picture of a folder with its label, not yet hashed."""
    listing = list_pictures(folder)
    name = folder.resolve().name
    kind: Kind
    notes: tuple[str, ...] = ()
    skipped = listing.skipped
    if truth == NO_TRUTH or not num_classes or (truth is None and not listing.folders):
        kind, names = "unlabelled", dict.fromkeys((p.name for p in listing.pictures), "")
        indices: dict[str, int] = {}
        why = ""
    elif truth is None:
        kind = "class-folders"
        names = {p.name: p.folder for p in listing.pictures if p.folder is not None}
        indices = class_indices(names.values(), num_classes, labels, name)
        why = "not in a class folder"
    else:
        kind, path = "label-file", Path(truth)
        written = read_truth(path)
        names, unused = match_truth(listing.pictures, written, path.name, name)
        indices = class_indices(written.values(), num_classes, labels, path.name)
        why = f"not in {path.name}"
        skipped = tuple(s for s in skipped if (folder / s.name).resolve() != path.resolve())
        if unused:
            notes = (f"{len(unused)} entries of {path.name} have no picture in {name}, such as {unused[0]!r}",)
    samples = tuple(
        Sample(name=p.name, label=indices[names[p.name]] if indices else None, sha256="", path=p.path)
        for p in listing.pictures
        if p.name in names
    )
    left_out = tuple(Skipped(name=p.name, reason=why) for p in listing.pictures if p.name not in names)
    return Dataset(
        kind=kind,
        name=name,
        samples=samples,
        classes={index: text for text, index in indices.items()},
        available=len(listing.pictures),
        excluded=0,
        skipped=(*skipped, *left_out),
        notes=notes,
    )


def choose(
    found: Sequence[Sample], limit: int | None, seed: int, exclude: frozenset[str] = frozenset()
) -> tuple[tuple[Sample, ...], int, list[Skipped]]:
    """The first pictures of the order, hashed; those behind the limit are not even read.

    Returns:
        The pictures, how many were excluded by content, and what was left out otherwise.
    """
    samples: list[Sample] = []
    skipped: list[Skipped] = []
    seen: dict[str, Sample] = {}
    excluded = 0
    for sample in _dealt(found, seed):
        if limit is not None and len(samples) == limit:
            break
        try:
            sha256 = _sha256_of(sample.path)
        except ImageError as error:
            skipped.append(Skipped(name=sample.name, reason=str(error)))
            continue
        if sha256 in exclude:
            excluded += 1
            continue
        if (first := seen.setdefault(sha256, sample)) is not sample:
            other = "" if first.label == sample.label else ", which is in another class"
            skipped.append(Skipped(name=sample.name, reason=f"{TWICE}{other}"))
            continue
        samples.append(dataclasses.replace(sample, sha256=sha256))
    return tuple(samples), excluded, skipped


def _dealt(samples: Sequence[Sample], seed: int) -> list[Sample]:
    """Shuffled within each class, then one of each class in turn."""
    key = {s.name: hashlib.sha256(f"{seed}/{s.name}".encode()).digest() for s in samples}
    rounds: Counter[int | None] = Counter()
    turn = {}
    for sample in sorted(samples, key=lambda s: key[s.name]):
        turn[sample.name] = rounds[sample.label]
        rounds[sample.label] += 1
    return sorted(samples, key=lambda s: (turn[s.name], key[s.name]))


def _sha256_of(path: Path | None) -> str:
    if path is None:
        raise UsageError("a drawn picture has no file")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ImageError(f"larger than {MAX_BYTES >> 20} MiB")
        return file_sha256(path)
    except OSError as error:
        raise ImageError(f"cannot be read ({error.strerror})") from None
