"""Importing coremltools without what it drags along.

Its import tries TensorFlow, scikit-learn, XGBoost, transformers and more, to know which converters it can offer:
seconds and hundreds of megabytes where they are installed, with a warning for each version it was not tested with. None
of them is needed to write a program with its ``Builder``.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from types import ModuleType

from edgecvx.errors import missing_package

KEPT_AWAY = (
    "executorch",
    "libsvm",
    "sklearn",
    "tensorflow",
    "torchao",
    "torchaudio",
    "torchvision",
    "transformers",
    "xgboost",
)
"""What coremltools must not find while it is imported. torch stays: the canonical graph came with it already."""


def import_coremltools() -> ModuleType:
    """coremltools, imported quietly and once.

    A process that imports it this way has no TensorFlow or scikit-learn front end in coremltools; one that needs them
    imports coremltools itself first, and that one is used.

    Raises:
        RuntimeUnavailableError: It is not installed.
    """
    if (loaded := sys.modules.get("coremltools")) is not None:
        return loaded
    with hidden(KEPT_AWAY), quiet():
        try:
            return importlib.import_module("coremltools")
        except ModuleNotFoundError as error:
            if error.name != "coremltools":
                raise
            raise missing_package("coremltools", "coreml") from None


@contextlib.contextmanager
def hidden(names: Sequence[str]) -> Iterator[None]:
    """Makes ``import name`` fail inside the block; modules that were imported before are back afterwards."""
    before = {name: sys.modules[name] for name in names if name in sys.modules}
    sys.modules.update(dict.fromkeys(names))  # type: ignore[arg-type]  # None is how Python spells "refuse this import"
    try:
        yield
    finally:
        for name in names:
            sys.modules.pop(name, None)
        sys.modules.update(before)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Holds back coremltools' progress bars and its warnings about versions and about not being on a Mac."""
    logger = logging.getLogger("coremltools")
    level = logger.level
    passes = sys.modules.get("coremltools.converters.mil.mil.passes.pass_pipeline")
    bar = getattr(passes, "tqdm", None)
    logger.setLevel(logging.ERROR)
    if bar is not None:
        # A bar per pipeline, unconditionally on standard error, which here belongs to the caller.
        vars(passes)["tqdm"] = lambda iterable, **_: iterable
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
        if bar is not None:
            vars(passes)["tqdm"] = bar
