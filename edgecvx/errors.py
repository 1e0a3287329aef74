"""The errors a user can meet. Every message is a sentence: what was wrong, with the value, and what to do."""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Iterator

DOCUMENTATION = "docs/"
"""Where the pages are: in the repository, until a site of them has an address."""


class Page(str, enum.Enum):
    """The pages that help with an error, each with the heading it is under."""

    INSTALLING = "installing.md"
    CHECKPOINTS = "checkpoints.md"
    WEIGHTS = "checkpoints.md#which-weights-a-variant-gets"
    OUTPUTS = "artifacts.md"
    INT8 = "int8.md#when-it-loses-too-much"
    DEVICES = "devices.md#messages"
    PHONES = "devices.md#android-phones"
    BROWSERS = "devices.md#browsers"
    CLUSTER = "cluster.md#what-may-go-wrong"
    CERTIFICATES = "cluster.md#certificates"
    RECIPE = "sweep.md#a-recipe"
    TUNE = "tune.md"
    NATIVE_FILE = "native-file.md"
    HUB = "publishing.md#on-the-hugging-face-hub"
    RUNS = "publishing.md#as-runs-of-mlflow"


class EdgecvxError(Exception):
    """Base of every error this package raises on purpose; the command line prints it in one line and exits 2."""

    page: Page | None = None
    """Where more is said; None where no page helps."""


class CheckpointError(EdgecvxError):
    """The weights are missing, damaged, unsafe to open, or do not fit the network."""

    page = Page.CHECKPOINTS


class ExportError(EdgecvxError):
    """A graph could not be written for a target."""


class SelfCheckError(EdgecvxError):
    """A written file does not compute what the reference computes; it is not handed over."""


class ArtifactError(EdgecvxError):
    """An artifact or its manifest is missing, damaged, or of another version."""


class RuntimeUnavailableError(EdgecvxError):
    """The runtime that opens this file is not installed here."""

    page = Page.INSTALLING


class RuntimeFailedError(EdgecvxError):
    """The runtime refused a file, or its native code died on it."""


class DeviceError(EdgecvxError):
    """A device cannot be reached, or cannot measure what it was asked to."""

    page = Page.DEVICES


class PublishingError(EdgecvxError):
    """What was made or measured cannot be given to a model hub or a tracking server; it stays where it is."""


class ImageError(EdgecvxError):
    """A picture cannot be read."""


class UsageError(EdgecvxError):
    """The request itself makes no sense: an unknown name, or options that exclude each other."""


@contextlib.contextmanager
def about(page: Page) -> Iterator[None]:
    """Gives errors that are raised within, or in a function it stands above, the page that helps with them.

    The innermost counts, and what is not installed is installed in one way wherever it is missed.
    """
    try:
        yield
    except EdgecvxError as error:
        if "page" not in vars(error) and not isinstance(error, RuntimeUnavailableError):
            error.page = page
        raise


def with_page(error: EdgecvxError) -> str:
    """The sentence of an error, and where more is said."""
    return str(error) if error.page is None else f"{error} (see {DOCUMENTATION}{error.page.value})"


def one_of(kind: str, value: str, known: tuple[str, ...] | list[str]) -> UsageError:
    """The error for an unknown name, with the nearest known ones.

    Args:
        kind: What the name should have been, e.g. ``"target"``.
        value: What the user wrote.
        known: Every name that would have been accepted.
    """
    import difflib

    near = difflib.get_close_matches(value, known, n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(known)}."
    return UsageError(f"unknown {kind} {value!r}: {hint}")


def missing_package(what: str, extra: str) -> RuntimeUnavailableError:
    """The error for a framework that is not installed, with the command that installs it."""
    return RuntimeUnavailableError(f"{what} is not installed here: pip install 'edgecvx[{extra}]'")
