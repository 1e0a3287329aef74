"""From what a user can live with to the file to ship; ``edgecvx.tune(...)`` is this call."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgecvx.cluster.handle import Cluster
from edgecvx.data.dataset import DEMO
from edgecvx.errors import missing_package
from edgecvx.tune.race.limits import Limits
from edgecvx.tune.report.values import Tuned
from edgecvx.tune.request import BUDGET, SIZES, Request
from edgecvx.tune.search import Progress, Search

if TYPE_CHECKING:
    from distributed import Client
    from torch import nn

    from edgecvx.models.labels import Labels


def tune(
    models: str | Path | nn.Module | Sequence[str | Path | nn.Module],
    *,
    target: str | Sequence[str],
    weights: str = "auto",
    devices: str | Sequence[str] = ("local",),
    data: str | Path = DEMO,
    truth: str | Path | None = None,
    labels: Labels | None = None,
    preprocess: object | None = None,
    calib: str | Path | None = None,
    max_drop: float | None = None,
    min_top1: float | None = None,
    max_p50: float | None = None,
    max_mb: float | None = None,
    max_memory: float | None = None,
    sizes: Sequence[int] = SIZES,
    threads: Sequence[int] = (),
    budget: float = BUDGET,
    cluster: str | Client | Cluster | None = None,
    one_file: bool = False,
    out: str | Path = "tuned",
    seed: int = 0,
    on_progress: Callable[[Progress], None] | None = None,
) -> Tuned:
    """Finds the file to ship on each device: what keeps the limits, and of that the best.

    With a limit on time, the best is what is most often right within it; with one on the loss alone, the fastest.
    Without any, the whole front is drawn.

    Args:
        models: Variants, timm names, checkpoint files, modules in memory; they compete.
        target: One target or several.
        weights: As ``edgecvx.export`` takes them.
        devices: ``local``, ``ssh://user@host``, …; each has a winner of its own.
        data: Labelled pictures, or ``demo`` for drawn ones.
        truth: A label file for them.
        labels: The networks' class names, as a list, a table or a file, where they bring none.
        preprocess: How pictures are prepared, as ``edgecvx.export`` takes it, where a file or module does not say.
        calib: Pictures that INT8 files are calibrated on; a part of ``data`` by default, which then judges nothing.
        max_drop: Percentage points of top-1 that may be lost, against the same model in FP32 PyTorch at its own size.
        min_top1: Percent that have to be right, whatever the model.
        max_p50: Milliseconds of the model alone.
        max_mb: Megabytes of the file.
        max_memory: Megabytes that a process may hold.
        sizes: Of the input.
        threads: Numbers of threads; the target's own by default.
        budget: Minutes after which no new work is begun.
        cluster: Where pictures are run, as ``edgecvx.validate`` takes it.
        one_file: One file for all devices, of which the worst counts.
        out: The folder of the results.
        seed: Of the pictures.
        on_progress: Called as it goes on.

    Returns:
        Everything that was found; the same lies in ``OUT/tune.json``, the files below ``OUT/ship``.

    Raises:
        EdgecvxError: The request cannot be carried out.
    """
    request = Request(
        # A module may have children to go through, and is one model all the same.
        models=tuple(models) if isinstance(models, Sequence) and not isinstance(models, str) else (models,),
        targets=tuple([target] if isinstance(target, str) else target),
        weights=weights,
        devices=tuple([devices] if isinstance(devices, str) else devices),
        data=data,
        truth=truth,
        labels=labels,
        preprocess=preprocess,
        calib=data if calib is None else calib,
        limits=Limits(max_drop=max_drop, min_top1=min_top1, max_p50=max_p50, max_mb=max_mb, max_memory=max_memory),
        sizes=tuple(sizes),
        threads=tuple(threads),
        budget=budget,
        cluster=cluster,
        one_file=one_file,
        out=Path(out),
        seed=seed,
    )
    if importlib.util.find_spec("scipy") is None:  # met after minutes otherwise, once files are written and timed
        raise missing_package("scipy, which solves for the best choice,", "tune")
    return Search(request, on_progress or (lambda at: None)).run()
