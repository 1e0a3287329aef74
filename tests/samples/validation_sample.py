"""A validation with everything a report can show, made up and seeded: for the tests of the reports."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from edgecvx.results.accuracy import (
    Answer,
    AnswerAgreement,
    ArtifactIdentity,
    ArtifactOutcome,
    ClassResult,
    DataInfo,
    Finding,
    Gate,
    Histogram,
    Interval,
    LayerError,
    Loss,
    OutputAgreement,
    Paired,
    Quantile,
    Rate,
    ReferenceInfo,
    RunningDelta,
    SkippedPicture,
    Validation,
    Verdict,
    VerdictKind,
)
from edgecvx.spec import PreprocessSpec, Task, WeightsSource

PICTURES = 2000
LABELS = ("red star", "blue disc", "green square", "yellow triangle", "red ring", "blue star")


def validation() -> Validation:
    """Four artifacts: one that passes, one that fails in one layer, one undecided, and one that is fed wrongly."""
    return Validation(
        edgecvx="0.1.0",
        data=DataInfo(
            kind="demo",
            name="drawn pictures",
            available=100_000,
            chosen=PICTURES,
            limit=PICTURES,
            seed=0,
            excluded_calibration=12,
            skipped=(SkippedPicture(name="cats/broken.jpg", reason="the file is empty"),),
            skipped_reasons={"the file is empty": 1},
            sha256="4f" * 32,
        ),
        gate=Gate(kind="min_ratio", value=0.99, text="top-1 at least 0.99 of the reference's"),
        artifacts=(
            outcome("convnextv2_femto.demo-224-fp16.onnx", "pass", lost=3, gained=4, closeness=-6.2),
            outcome("convnextv2_femto.demo-224-int8.tflite", "fail", lost=71, gained=13, closeness=-2.4, broken=19),
            outcome("convnextv2_femto.demo-224-int8.xml", "undecided", lost=29, gained=14, closeness=-3.3),
            misfed("convnextv2_femto.demo-224-fp16.mlpackage"),
        ),
        warnings=("these are the demo weights: fit for trying things out, not for photographs",),
    )


def outcome(
    file: str, kind: VerdictKind, *, lost: int, gained: int, closeness: float, broken: int | None = None
) -> ArtifactOutcome:
    """One artifact; ``closeness`` is the decimal logarithm of a typical 1 - cosine."""
    rng = np.random.default_rng(lost)
    top1 = _paired(1, 1874, lost, gained)
    return ArtifactOutcome(
        identity=_identity(file),
        verdict=Verdict(
            kind=kind,
            reason=f"the interval goes from {100 * top1.interval.low:.2f} to {100 * top1.interval.high:.2f} points; "
            "allowed -0.94",
            allowed_drop=0.00937,
            pictures_needed=5200 if kind == "undecided" else None,
        ),
        pictures=PICTURES,
        reference=_reference(),
        top1=top1,
        top5=_paired(5, 1991, lost // 9, gained // 9),
        answers=AnswerAgreement(
            same=PICTURES - 2 * lost,
            flips=2 * lost,
            kl_mean=10**closeness,
            kl_max=40 * 10**closeness,
            confidence_histogram=_histogram(rng.normal(-0.01, 4 * 10 ** (closeness / 2), PICTURES), -1, 1, 80),
        ),
        outputs=(
            OutputAgreement(
                name="logits",
                cosine_mean=1 - 10**closeness,
                cosine_min=1 - 30 * 10**closeness,
                cosine_quantiles=(Quantile(q=0.5, value=1 - 10**closeness),),
                cosine_histogram=_histogram(rng.normal(closeness, 0.45, PICTURES), -12, 0.5, 50),
                sqnr_db=-10 * closeness,
                sqnr_quantiles=(),
                max_error=3 * 10 ** (closeness / 2),
                max_error_of_range=10 ** (closeness / 2),
            ),
        ),
        running=tuple(_running(n, top1.delta, rng) for n in range(50, PICTURES + 1, 50)),
        worst_classes=tuple(
            ClassResult(
                index=i,
                label=label,
                pictures=83,
                reference_correct=80,
                artifact_correct=80 - max(1, lost // (4 + 3 * i)) + gained // 9,
                lost=max(1, lost // (4 + 3 * i)),
                gained=gained // 9,
            )
            for i, label in enumerate(LABELS)
        ),
        losses=tuple(
            Loss(
                picture=f"demo/validation/{17 * (i + 1)}",
                truth=i,
                truth_label=label,
                reference=Answer(index=i, label=label, probability=0.93 - 0.04 * i),
                artifact=Answer(index=(i + 1) % 6, label=LABELS[(i + 1) % 6], probability=0.61 - 0.05 * i),
                drop=0.8 - 0.1 * i,
            )
            for i, label in enumerate(LABELS)
        ),
        layers=layers(-10 * closeness, broken=broken),
    )


def layers(final_db: float, *, broken: int | None = None) -> tuple[LayerError, ...]:
    """The inner tensors of a small network; ``broken`` is the place of one that is far worse than its kind."""
    rng = np.random.default_rng(1)
    names = ["stem.0", "stem.1"]
    kinds = ["conv 4x4", "LayerNorm2d"]
    for stage, blocks in enumerate((1, 1, 3, 1)):
        if stage:
            names += [f"stages.{stage}.downsample.{i}" for i in (0, 1)]
            kinds += ["LayerNorm2d", "conv 2x2"]
        for block in range(blocks):
            root = f"stages.{stage}.blocks.{block}"
            names += [
                f"{root}{part}" for part in (".conv_dw", ".norm", ".mlp.fc1", ".mlp.act", ".mlp.grn", ".mlp.fc2", "")
            ]
            kinds += ["depthwise 7x7", "LayerNorm2d", "conv 1x1", "Gelu", "Grn", "conv 1x1", "Add"]
    names, kinds = [*names, "head.norm", "logits"], [*kinds, "LayerNorm2d", "Gemm"]
    made, noise = [], 0.0
    for depth, (name, kind) in enumerate(zip(names, kinds, strict=True)):
        local = None if kind == "Add" else final_db + 14 + float(rng.normal(0, 2)) + (0 if "conv" in kind else 40)
        if depth == broken and local is not None:
            local -= 45
        noise += 0.0 if local is None else 10 ** (-local / 10)
        sqnr = -10 * math.log10(noise) if noise else None
        made.append(
            LayerError(
                name=name,
                kind=kind,
                depth=depth,
                sqnr_db=sqnr,
                local_sqnr_db=local,
                cosine=1 - noise / 2,
                max_error_of_range=math.sqrt(noise),
                not_finite=0,
                channel=depth % 8,
                channel_share=0.0 if local is None else 0.97 if depth == broken else 0.2,
            )
        )
    return tuple(made)


def misfed(file: str) -> ArtifactOutcome:
    """An artifact whose pictures arrive in the wrong colour order: there are no numbers, but a reason."""
    return ArtifactOutcome(
        identity=_identity(file),
        verdict=Verdict(
            kind="error", reason="The pictures do not reach the network as they should; nothing was judged."
        ),
        pictures=0,
        reference=_reference(),
        findings=(
            Finding(
                kind="colour-order",
                sentence="Red and blue are swapped on the way in: feed RGB, or export the file for BGR.",
                pictures=32,
                sqnr_as_is_db=4.1,
                sqnr_explained_db=61.7,
            ),
        ),
    )


def hostile(text: str) -> Validation:
    """The same validation with ``text`` wherever a stranger chooses the words: files, labels, pictures, errors."""
    made = validation()

    def spoil(o: ArtifactOutcome) -> ArtifactOutcome:
        return dataclasses.replace(
            o,
            identity=dataclasses.replace(o.identity, file=text, model=text, runtime_version=text, target=text),
            verdict=dataclasses.replace(o.verdict, reason=text),
            error=text,
            findings=tuple(dataclasses.replace(f, sentence=text) for f in o.findings),
            outputs=tuple(dataclasses.replace(output, name=text) for output in o.outputs),
            worst_classes=tuple(dataclasses.replace(c, label=text) for c in o.worst_classes),
            losses=tuple(
                dataclasses.replace(
                    loss,
                    picture=text,
                    truth_label=text,
                    reference=dataclasses.replace(loss.reference, label=text),
                    artifact=dataclasses.replace(loss.artifact, label=text),
                )
                for loss in o.losses
            ),
            layers=tuple(dataclasses.replace(layer, name=text, kind=text) for layer in o.layers),
        )

    return dataclasses.replace(
        made,
        edgecvx=text,
        data=dataclasses.replace(
            made.data,
            name=text,
            skipped=(SkippedPicture(name=text, reason=text),),
            skipped_reasons={text: 1},
        ),
        gate=dataclasses.replace(made.gate, text=text),
        artifacts=tuple(spoil(o) for o in made.artifacts),
        warnings=(text,),
    )


def _identity(file: str) -> ArtifactIdentity:
    return ArtifactIdentity(
        file=file,
        sha256="c0ffee" * 10 + "0000",
        bytes=5_480_192,
        model="convnextv2_femto.demo",
        task=Task.CLASSIFY,
        target=file.rpartition(".")[2],
        format=file.rpartition(".")[2],
        precision="int8" if "int8" in file else "fp16",
        runtime="onnxruntime",
        runtime_version="1.22.0",
    )


def _reference() -> ReferenceInfo:
    return ReferenceInfo(
        model="convnextv2_femto.demo",
        weights=WeightsSource(
            kind="demo",
            ref="convnextv2_femto.demo.safetensors",
            layout="timm",
            sha256="ab" * 32,
            license="apache-2.0",
        ),
        preprocess=PreprocessSpec(),
        torch="2.7.0",
        from_cache=0,
    )


def _paired(top: int, right: int, lost: int, gained: int) -> Paired:
    delta = (gained - lost) / PICTURES
    half = 1.96 * math.sqrt(lost + gained) / PICTURES
    return Paired(
        top=top,
        reference=_rate(right),
        artifact=_rate(right - lost + gained),
        both_right=right - lost,
        lost=lost,
        gained=gained,
        both_wrong=PICTURES - right - gained,
        delta=delta,
        interval=Interval(low=delta - half, high=delta + half),
        p_value=math.exp(-abs(lost - gained) / 4),
    )


def _rate(correct: int) -> Rate:
    value = correct / PICTURES
    return Rate(
        correct=correct,
        pictures=PICTURES,
        value=value,
        interval=Interval(low=value - 0.01, high=min(1.0, value + 0.01)),
    )


def _running(pictures: int, delta: float, rng: np.random.Generator) -> RunningDelta:
    half = 0.25 / math.sqrt(pictures)
    middle = delta + half * float(rng.normal(0, 0.25))
    return RunningDelta(pictures=pictures, delta=middle, interval=Interval(low=middle - half, high=middle + half))


def _histogram(values: np.ndarray, low: float, high: float, bins: int) -> Histogram:
    counts, edges = np.histogram(np.clip(values, low, high), bins=bins, range=(low, high))
    return Histogram(edges=tuple(map(float, edges)), counts=tuple(map(int, counts)))
