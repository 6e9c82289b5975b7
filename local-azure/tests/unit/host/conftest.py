"""Each test indexes an app of its own, whatever another test in this process has imported."""

from __future__ import annotations

import sys

import pytest


@pytest.fixture(autouse=True)
def no_http_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """An app uses HTTP streams where their extension has been imported, which is for ever in a process."""
    base = sys.modules.get("azurefunctions.extensions.base")
    if base is not None:
        monkeypatch.setattr(base.HttpV2FeatureChecker, "http_v2_enabled", staticmethod(lambda: False))
