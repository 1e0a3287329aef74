"""The Hugging Face hub's own client, for whoever reads from the hub or writes to it; it needs no framework."""

from __future__ import annotations

from typing import Any

from edgecvx.errors import missing_package


def client() -> Any:
    """The hub's own client.

    Raises:
        RuntimeUnavailableError: It is not installed.
    """
    try:
        import huggingface_hub
        import huggingface_hub.constants
        import huggingface_hub.errors
    except ModuleNotFoundError:
        raise missing_package("huggingface_hub", "hub") from None
    return huggingface_hub


def network_errors(hub: Any) -> tuple[type[BaseException], ...]:
    """What the client raises where a hub is not there, or does not answer as one.

    Sockets, the base of the HTTP client's own errors, and what the native transfer raises.
    """
    errors = hub.errors
    return OSError, errors.HfHubHTTPError.__bases__[0], getattr(errors, "XetDownloadError", OSError), RuntimeError
