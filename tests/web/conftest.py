"""One browser for the tests of a file, and an empty page of a site in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from chromium import BINARY, Browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if BINARY is None:
        pytest.skip("no chromium in the path")
    with Browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser
