"""Artifacts and their card in a model repository of the Hugging Face hub, through its own client, as one commit.

The token is looked for where that client looks for it, and nowhere else; it is neither shown nor kept. What is made is
private unless the caller says that everybody may see it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecvx import __version__
from edgecvx.errors import Page, PublishingError, UsageError, about
from edgecvx.files import file_sha256, read_artifact
from edgecvx.manifest import Manifest, manifest_path
from edgecvx.models.hub_client import client, network_errors
from edgecvx.report.forms.card import card
from edgecvx.report.join import Report, join
from edgecvx.report.read import read
from edgecvx.results.untrusted import plain

CARD = "README.md"
"""Where hubs look for a repository's card."""
PLAN = ".plan.json"
STAYS = "the files stay where they are"

_NAME = re.compile(r"(?!.*(?:--|\.\.|\.git$))\w(?:[\w.-]*\w)?/\w(?:[\w.-]*\w)?", re.ASCII)
_LONGEST = 96
"""Of a repository's name, by the rules of the hub."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """What arrived."""

    repository: str
    url: str
    """Of the commit."""
    commit: str
    private: bool
    files: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    """Results that could not be used for the card, a sentence each."""


@about(Page.HUB)
def push(
    artifacts: Sequence[str | Path] | str | Path,
    repository: str,
    *,
    public: bool = False,
    results: Sequence[str | Path] = (),
) -> Pushed:
    """Publishes artifacts of one model, with a card made of their manifests, as one commit.

    Args:
        artifacts: Files that ``edgecvx export`` wrote, their manifests beside them.
        repository: ``owner/name``; it is made where it does not exist.
        public: Whether everybody may see it. A repository that exists stays as it is: a public one is refused without.
        results: What ``validate`` and ``bench`` wrote as JSON, or folders of it, for the card's figures.

    Raises:
        UsageError: The name is none, there is no token, or the artifacts are of several models.
        ArtifactError: A file is not the one that passed its self-check.
        PublishingError: The hub cannot be reached, or refuses.
    """
    hub = check(repository)
    found = dict(read_artifact(path) for path in ([artifacts] if isinstance(artifacts, str | Path) else artifacts))
    files = contents(found)
    measured, warnings = _measured(results)
    text = card(found, measured)
    made = hub.CommitOperationAdd
    operations = [made(path_in_repo=name, path_or_fileobj=str(path)) for name, path in files.items()]
    operations.append(made(path_in_repo=CARD, path_or_fileobj=text.encode()))
    message = f"edgecvx {__version__}: {', '.join(path.name for path in found)}"
    refusals: tuple[type[BaseException], ...] = (*network_errors(hub), ValueError, LookupError)
    try:
        api = hub.HfApi()
        api.create_repo(repository, private=not public, exist_ok=True)
        private = bool(api.model_info(repository).private)
        if not private and not public:
            raise UsageError(
                f"{repository} is there and public: --public (public=True) says that everybody may see these files"
            )
        commit = api.create_commit(repository, operations, commit_message=message)
    except refusals as error:
        raise PublishingError(f"{repository} was not pushed: {_why(hub, error, repository)}; {STAYS}") from None
    return Pushed(
        repository=repository,
        url=plain(str(commit.commit_url)),
        commit=plain(str(commit.oid)),
        private=private,
        files=(*files, CARD),
        warnings=warnings,
    )


@about(Page.HUB)
def check(repository: str) -> Any:
    """The hub's client, once everything is in order that can be known without asking the hub.

    Raises:
        UsageError: The name is none a repository can have, there is no token, or the client is offline by request.
        RuntimeUnavailableError: The client is not installed.
    """
    hub = client()
    if not _NAME.fullmatch(repository) or len(repository) > _LONGEST:
        raise UsageError(f"{plain(repository)!r} is no name of a repository: it is owner/name, as in somebody/birds")
    if hub.constants.HF_HUB_OFFLINE:
        raise UsageError(f"nothing can be pushed to {repository} while HF_HUB_OFFLINE is set")
    if not hub.get_token():
        raise UsageError(
            f"there is no token to push to {repository} with: 'hf auth login' keeps one, or HF_TOKEN holds it"
        )
    return hub


def contents(artifacts: Mapping[Path, Manifest]) -> dict[str, Path]:
    """Everything that belongs to some artifacts of one model: its name in a repository -> where it lies.

    Raises:
        UsageError: They are of several models, or two of them have one name.
        PublishingError: A self-check in a manifest was not passed.
    """
    if not artifacts:
        raise UsageError("there is nothing to push: name a file that edgecvx export wrote")
    models = dict.fromkeys((m.model.name, m.model.weights.sha256) for m in artifacts.values())
    if len(models) > 1:
        raise UsageError(f"a repository holds one model, not {' and '.join(sorted({name for name, _ in models}))}")
    found: dict[str, Path] = {}
    for name, path in (pair for artifact, manifest in artifacts.items() for pair in _files(artifact, manifest)):
        if found.setdefault(name, path) != path and file_sha256(found[name]) != file_sha256(path):
            raise UsageError(f"{found[name]} and {path} would be one file of the repository: push one of them")
    return found


def _files(artifact: Path, manifest: Manifest) -> Iterator[tuple[str, Path]]:
    checked = manifest.self_check
    if not checked.max_error <= checked.limit:
        raise PublishingError(
            f"{artifact.name} is not pushed: its self-check was {checked.max_error:.1e} off where "
            f"{checked.limit:.1e} is the most"
        )
    yield from ((entry.path, artifact.parent / entry.path) for entry in manifest.files)
    beside = manifest_path(artifact)
    yield beside.name, beside
    plan = artifact.with_name(artifact.name.removesuffix(artifact.suffix) + PLAN)
    if manifest.quantized is not None and _is_its_plan(plan, manifest.quantized.plan_sha256):
        yield plan.name, plan


def _is_its_plan(plan: Path, sha256: str | None) -> bool:
    """Whether this is the plan that a file was quantized by; another one says nothing of it, and stays here."""
    return sha256 is not None and plan.is_file() and file_sha256(plan) == sha256


def _measured(results: Sequence[str | Path]) -> tuple[Report | None, tuple[str, ...]]:
    if not results:
        return None, ()
    found = read([Path(place) for place in results])
    return join(found.validations, found.benchmarks), found.warnings


# What a hub says where it does not do as it is asked. Its own words may hold addresses and ids, and are left out.

_STATUS = {
    401: "the hub does not know this token: 'hf auth login' keeps another one",
    402: "the hub asks for a payment first",
    403: "this token may not write there: it needs the right to write, and {repository} an owner it belongs to",
    404: "the hub has no {repository} that this token may see",
    413: "the files are too large for the hub",
    429: "the hub was asked too often: try again later",
}


def _why(hub: Any, error: BaseException, repository: str) -> str:
    """What an error of the hub's client means."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None:
        return _STATUS.get(status, f"the hub answered {status}").format(repository=repository)
    if isinstance(error, network_errors(hub)):
        return f"the hub cannot be reached ({type(error).__name__})"
    return f"the hub does not take it ({plain(str(error), 300)})"  # the card's header, or no answer of a hub
