"""Published weights from the Hugging Face hub, through its own client, cache and offline mode.

What is cached is used without asking the hub: the same command then gives the same bytes tomorrow, and works on a
train. Only a file that is not there yet goes over the network, after one short question whether there is any: the
client by itself would retry for half a minute before admitting there is none.
"""

from __future__ import annotations

import errno
import re
from pathlib import Path
from typing import Any

from edgecvx.errors import CheckpointError, Page
from edgecvx.models.hub_client import client, network_errors
from edgecvx.models.weightfile import SAVED_NAMES

_FACEBOOK = re.compile(r"facebook/convnextv2-[a-z]+-[0-9]+k-[0-9]+")
_TIMEOUT_S = 5.0

FACEBOOK_LICENSE = "cc-by-nc-4.0"
"""Of ``facebook/convnextv2-*``: its authors release the code under MIT, "except ImageNet pre-trained and fine-tuned
models which are licensed under a CC-BY-NC" (README of facebookresearch/ConvNeXt-V2). Whatever a copy's page says, the
licence is theirs to give."""


class HubUnavailableError(CheckpointError):
    """The hub cannot be reached and the file is not in its cache, so nobody can say whether it exists."""

    page = Page.WEIGHTS


def is_facebook_id(name: str) -> bool:
    """Whether this names one of the original authors' transformers checkpoints, ``facebook/convnextv2-atto-1k-224``."""
    return _FACEBOOK.fullmatch(name) is not None


def fetch(repo: str) -> Path:
    """The weights of a repository, ``owner/name``, from the cache or over the network.

    Raises:
        HubUnavailableError: Not cached, and the hub cannot be reached (or ``HF_HUB_OFFLINE`` is set).
        CheckpointError: The hub has no such repository or no weights in it, or the disk does not take them.
    """
    hub = client()
    for get in (_cached, _download):
        for name in SAVED_NAMES:
            if path := get(hub, repo, name):
                return path
    raise CheckpointError(f"{repo} on the hub holds neither {' nor '.join(SAVED_NAMES)}")


def fetch_beside(repo: str, name: str) -> Path | None:
    """A file that is good to have: its absence, and the hub's, are no error once the weights are here."""
    hub = client()
    try:
        return _cached(hub, repo, name) or _download(hub, repo, name)
    except HubUnavailableError:
        return None


def _cached(hub: Any, repo: str, name: str) -> Path | None:
    found = hub.try_to_load_from_cache(repo, name, cache_dir=hub.constants.HF_HUB_CACHE)
    return Path(found) if isinstance(found, str) and Path(found).is_file() else None


def _download(hub: Any, repo: str, name: str) -> Path | None:
    """Fetches one file into the cache; None if the repository has no such file."""
    errors = hub.errors
    try:
        answer = hub.get_hf_file_metadata(hub.hf_hub_url(repo, name), timeout=_TIMEOUT_S)
        if answer.commit_hash is None:
            raise HubUnavailableError(f"what answers in place of the hub for {repo} is not the hub: check the proxy")
        return Path(hub.hf_hub_download(repo, name, etag_timeout=_TIMEOUT_S))
    except errors.RepositoryNotFoundError:
        raise CheckpointError(f"the hub has no public repository {repo}") from None
    except errors.EntryNotFoundError as error:
        if isinstance(error, errors.LocalEntryNotFoundError):
            raise _unavailable(repo, "it went away in between") from None
        return None
    except errors.OfflineModeIsEnabled:
        raise _unavailable(repo, "HF_HUB_OFFLINE is set") from None
    except network_errors(hub) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT):
            raise CheckpointError(f"cannot store {repo} in the hub's cache: {error.strerror}") from None
        raise _unavailable(repo, type(error).__name__) from None


def _unavailable(repo: str, why: str) -> HubUnavailableError:
    return HubUnavailableError(f"{repo} is not in the hub's cache and the hub cannot be reached ({why})")
