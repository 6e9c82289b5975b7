"""The names of attributes are those of the published conventions."""

from __future__ import annotations

import importlib
import pkgutil
import re

import opentelemetry.semconv._incubating.attributes as incubating
import opentelemetry.semconv.attributes as stable
import pytest

from shared.telemetry import Name, messaging
from shared.telemetry.conventions import pinned, writes_old


def published() -> set[str]:
    """Every attribute of the package, the ones in development included."""
    names: set[str] = set()
    for package in (stable, incubating):
        for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            module = importlib.import_module(found.name)
            names |= {value for name, value in vars(module).items() if name.isupper() and isinstance(value, str)}
    return names


def test_each_pinned_name_is_published() -> None:
    """Spelt as there; what is ours is under a name of our own."""
    assert set(pinned().values()) <= published()
    ours = {value for name, value in vars(Name).items() if name.isupper()} - set(pinned().values())
    assert all(re.fullmatch(r"sluice\.[a-z_.]+|correlation\.id", one) for one in ours), ours
    assert not ours & published()


@pytest.mark.parametrize(
    ("chosen", "old"),
    [("", True), ("http", True), ("messaging", False), ("http, messaging", False), ("messaging/dup,messaging", True)],
)
def test_the_opt_in_decides_about_old_names(monkeypatch: pytest.MonkeyPatch, chosen: str, old: bool) -> None:
    """As every instrumentation reads it."""
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", chosen)
    assert writes_old() is old


def test_attributes_about_messages() -> None:
    """System, operation, destination, and what is given beside them."""
    made = messaging("send", "normal", MESSAGE_ID="m", KEY=None)
    assert made == {
        "messaging.system": "servicebus",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.operation": "publish",
        "messaging.destination.name": "normal",
        "messaging.message.id": "m",
    }
