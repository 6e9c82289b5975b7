"""Which languages a scenario is run in."""

from __future__ import annotations

import pytest

__all__ = ["RAW", "SDKS", "spoken_by"]

SDKS = ("javascript", "java", "go")
"""Those with a client library of the service's vendor, but Python: tests of its own are in `integration`."""

RAW = ("proton", "rhea")
"""AMQP libraries that know nothing of the service."""


def spoken_by(*languages: str) -> pytest.MarkDecorator:
    """Run a test once in each language."""
    return pytest.mark.parametrize("language", languages)
