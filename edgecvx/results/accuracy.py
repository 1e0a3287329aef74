"""What a validation yields: the values behind every report, and the schema of its JSON.

Written and read with ``spec.to_json`` and ``spec.from_json``. Rates and differences are fractions (0.02 is two
percentage points); every difference is artifact minus reference, so a loss is negative. Numbers a report cannot have
are None, never NaN: JSON knows no such number.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from edgecvx.results.figures import VERDICTS, percent
from edgecvx.results.shown import as_printed
from edgecvx.results.texts import read_result, writable
from edgecvx.results.vocabulary import Interval as Interval
from edgecvx.results.vocabulary import VerdictKind as VerdictKind
from edgecvx.runtimes.proof import Recheck
from edgecvx.spec import PreprocessSpec, Task, WeightsSource, to_json

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How often something was right."""

    correct: int
    pictures: int
    value: float
    interval: Interval
    """Wilson's, for this rate alone; two of them overlapping says nothing about the difference, ``Paired`` does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """Reference and artifact over the same labelled pictures, for the top 1 or the top 5."""

    top: int
    reference: Rate
    artifact: Rate
    both_right: int
    lost: int
    """The reference was right, the artifact is not."""
    gained: int
    """The other way."""
    both_wrong: int
    delta: float
    """Artifact minus reference; negative is a loss."""
    interval: Interval
    """Of the delta, from the pairs."""
    p_value: float
    """McNemar's exact mid-p: how surprising this imbalance of lost and gained is if there is no difference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningDelta:
    """The top-1 delta after the first ``pictures`` pictures, in the (shuffled) order they were run in."""

    pictures: int
    delta: float
    interval: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Counts between edges; ``edges`` has one more entry than ``counts``, everything counted lies within them."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantile:
    """The value that a share ``q`` of the pictures lies at or below."""

    q: float
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputAgreement:
    """How close one output of the artifact is to the reference's, whatever the labels say."""

    name: str
    cosine_mean: float
    cosine_min: float
    """Over the pictures."""
    cosine_quantiles: tuple[Quantile, ...]
    cosine_histogram: Histogram
    """Of ``1 - cosine`` on a decimal logarithm: an edge of -4 is a cosine of 0.9999. 1e-12 and below is one bin."""
    sqnr_db: float | None
    """Signal to noise over all pictures, in decibels; None where every value is exactly the same."""
    sqnr_quantiles: tuple[Quantile, ...]
    """Over the pictures that are not exactly the same."""
    max_error: float
    """Largest absolute difference of one value."""
    max_error_of_range: float
    """The same, as a part of the range of the reference's output for that picture; the largest over the pictures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerAgreement:
    """How close the answers of two classifiers are, whatever the labels say."""

    same: int
    """Pictures for which both put the same class first."""
    flips: int
    """Pictures for which they do not."""
    kl_mean: float
    """Kullback-Leibler divergence of the artifact's probabilities from the reference's, in nats, mean over pictures."""
    kl_max: float
    confidence_histogram: Histogram
    """Of the change in probability of the class that the reference puts first: artifact minus reference, -1 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassResult:
    """One class over its pictures."""

    index: int
    label: str
    pictures: int
    reference_correct: int
    artifact_correct: int
    lost: int
    gained: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The class somebody puts first."""

    index: int
    label: str
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """A picture on which the artifact does worse than the reference."""

    picture: str
    """Its name below the folder, or ``demo/validation/17``."""
    truth: int | None
    truth_label: str | None
    """None without labels."""
    reference: Answer
    artifact: Answer
    drop: float
    """How much probability was lost by the right class, or by the reference's answer where there are no labels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A mistake in the way from the picture to the network that explains the artifact's answers."""

    kind: str
    """Short and stable: ``colour-order``, ``missing-normalization``, ``layout``, …"""
    sentence: str
    """What is wrong, and what to do."""
    pictures: int
    sqnr_as_is_db: float
    """The artifact against the reference that is fed correctly."""
    sqnr_explained_db: float | None
    """The artifact against the reference that is fed with this mistake; None where they are exactly the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What an artifact has to reach."""

    kind: Literal["min_ratio", "max_drop"]
    value: float
    """The ratio of the top-1 rates, or the allowed drop in percentage points."""
    text: str
    """The rule in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether the gate was reached, as far as these pictures can tell."""

    kind: VerdictKind
    reason: str
    """One sentence with the numbers it rests on."""
    allowed_drop: float | None = None
    """The gate as a fraction of pictures, for this reference's top-1."""
    pictures_needed: int | None = None
    """About how many pictures would decide, where these do not and a number can be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerError:
    """How far one inner tensor of the artifact is from the reference, and how much of that was born there."""

    name: str
    """The value's name in the canonical graph."""
    kind: str
    """What computes it: ``conv 1x1``, ``depthwise``, ``LayerNorm2d``, ``Gelu``, …"""
    depth: int
    """Its place along the network, from 0."""
    sqnr_db: float | None
    """Against the reference's tensor, so with everything that went wrong before; None where every value is the same."""
    local_sqnr_db: float | None
    """Against what the FP32 layer makes of the artifact's own inputs: only what went wrong here. None as above."""
    cosine: float
    max_error_of_range: float | None
    """None where the artifact has values that are not finite."""
    not_finite: int
    """Values of the artifact that are NaN or infinite."""
    channel: int
    """The channel with most of the local error."""
    channel_share: float
    """How much of it, from 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceInfo:
    """FP32 PyTorch, unfolded: what an artifact is compared with."""

    model: str
    weights: WeightsSource
    preprocess: PreprocessSpec
    torch: str
    """Its version."""
    from_cache: int
    """For how many pictures its answers were known from an earlier run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactIdentity:
    """Which file, and where it ran."""

    file: str
    sha256: str
    """Over all files of the artifact."""
    bytes: int
    model: str
    task: Task
    target: str
    format: str
    precision: str
    runtime: str
    runtime_version: str | None
    """None where the runtime is not installed here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedPicture:
    """An entry of the data that was not counted."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DataInfo:
    """The pictures of a validation."""

    kind: Literal["class-folders", "label-file", "unlabelled", "demo"]
    name: str
    """The folder's own name, without the way to it."""
    available: int
    """Readable pictures found."""
    chosen: int
    """Pictures to be run, after the exclusions and the limit."""
    limit: int | None
    seed: int
    """Of the choice, where there is a limit, and of the order."""
    excluded_calibration: int
    """Left out because the artifacts were calibrated on the same content."""
    skipped: tuple[SkippedPicture, ...]
    """Every entry left out for another reason, by name; at most ``SKIPPED_NAMED`` of them."""
    skipped_reasons: Mapping[str, int]
    """All of them, counted."""
    sha256: str
    """Over the content and the labels of the chosen pictures, in order."""


SKIPPED_NAMED = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactOutcome:
    """One artifact against its reference."""

    identity: ArtifactIdentity
    verdict: Verdict
    pictures: int
    """Counted: run through both, and compared."""
    reference: ReferenceInfo | None = None
    findings: tuple[Finding, ...] = ()
    """Mistakes of the input path. With one, the numbers below are left out: they would measure the mistake."""
    error: str | None = None
    """Why the artifact could not be run to the end; the numbers below are left out then."""
    recheck: Recheck | None = None
    """What came of asking it again, where it was not proved on this class of processors, or not in this runtime."""
    top1: Paired | None = None
    """None without labels, and for ``features`` and ``embed``."""
    top5: Paired | None = None
    """None also with five classes or fewer."""
    answers: AnswerAgreement | None = None
    """None for ``features`` and ``embed``."""
    outputs: tuple[OutputAgreement, ...] = ()
    """In the file's order; a classifier has one, its logits."""
    running: tuple[RunningDelta, ...] = ()
    worst_classes: tuple[ClassResult, ...] = ()
    """Classes that lost most, net of what they gained, first; classes that lost nothing are left out."""
    losses: tuple[Loss, ...] = ()
    """Pictures that lost most, first."""
    layers: tuple[LayerError, ...] = ()
    """Only where asked for, in the order of the network."""

    _repr_pretty_ = as_printed

    def __str__(self) -> str:
        """Whether the gate was reached, how often both were right, and what that rests on."""
        _, word = VERDICTS[self.verdict.kind]
        said = [self.identity.file, word]
        if self.top1 is not None:
            said.append(f"top-1 {percent(self.top1.artifact.value)}, FP32 {percent(self.top1.reference.value)}")
        return ": ".join([*said, self.verdict.reason])


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """Every artifact of one call, over the same pictures."""

    schema_version: int = SCHEMA_VERSION
    edgecvx: str
    """The version that measured this."""
    data: DataInfo
    gate: Gate
    artifacts: tuple[ArtifactOutcome, ...]
    warnings: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0: all passed, or nothing was to be judged; 1: a gate failed or is undecided; 2: one had an error."""
        kinds = {outcome.verdict.kind for outcome in self.artifacts}
        if "error" in kinds:
            return 2
        return 1 if kinds & {"fail", "undecided"} else 0

    _repr_pretty_ = as_printed

    def __str__(self) -> str:
        return "\n".join([*map(str, self.artifacts), *(f"warning: {warning}" for warning in self.warnings)])


def as_json(validation: Validation) -> str:
    """The validation as JSON, one object by the schema in ``assets``; ``read_json`` takes it back."""
    return writable(json.dumps(to_json(validation), indent=2, ensure_ascii=False, allow_nan=False)) + "\n"


def read_json(text: str) -> Validation:
    """The validation that ``as_json`` wrote.

    Raises:
        EdgecvxError: The text is something else.
    """
    return read_result(Validation, text, "validation", SCHEMA_VERSION)
