"""What holds for every test of the live app."""

from __future__ import annotations

import pytest
from waiting import PATIENCE

from edgecvx_live import patience, viewer


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server waits for a visitor on a busy machine as tests do; one about its patience sets the clock itself."""
    monkeypatch.setattr(viewer, "PATIENCE", PATIENCE)
    for name in ("LIFE", "GOODBYE"):
        monkeypatch.setattr(patience, name, PATIENCE)
