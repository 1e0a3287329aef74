"""One browser of each kind for all tests that need nothing special of it; every page has a context of its own."""

from __future__ import annotations

from collections.abc import Iterator

import browsing
import chromium
import firefox as fox
import pytest


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[chromium.Browser]:
    if chromium.BINARY is None:
        pytest.skip("no chromium in the path")
    with chromium.Browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture(scope="session")
def firefox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[fox.Browser]:
    """With a camera, for all files: it takes seconds to start."""
    if fox.BINARY is None:
        pytest.skip("no firefox-esr in the path")
    with fox.Browser(tmp_path_factory.mktemp("firefox")) as browser:
        yield browser


@pytest.fixture(scope="module", params=["browser", "firefox"], ids=["chromium", "firefox"])
def either(request: pytest.FixtureRequest) -> browsing.Browser[browsing.Tab]:
    """What is to hold in every browser is asked of two engines: Chromium, as the file has it, and Firefox."""
    found: browsing.Browser[browsing.Tab] = request.getfixturevalue(request.param)
    return found
