"""Which languages a scenario is run in."""

from __future__ import annotations

import pytest

__all__ = ["RAW", "SDKS", "spoken_by"]

SDKS = ("javascript", "java", "go")
"""Those with a client library of the service's vendor, but Python: tests of its own are in `integration`."""

RAW = ("proton", "rhea")
"""AMQP libraries that know nothing of the service."""


def spoken_by(*languages: str, wrong_in: tuple[str, ...] = (), because: str = "") -> pytest.MarkDecorator:
    """Run a test once in each language; `because` is what the broker does wrong in these until it is mended."""
    fault = pytest.mark.xfail(strict=True, reason=because)
    return pytest.mark.parametrize(
        "language", [pytest.param(each, marks=fault if each in wrong_in else ()) for each in languages]
    )
