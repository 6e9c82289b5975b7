"""How bodies reach the API: as streams where the worker takes them, over the classic bridge elsewhere."""

from __future__ import annotations

import inspect
import sys

import pytest

from functions.composition import CAPABILITIES, SETTINGS, Composition
from functions.composition.api import gathered
from shared.messages import Registry

from .conftest import ENVIRONMENT


@pytest.mark.parametrize(
    ("setting", "version", "parameters"),
    [
        ({"PYTHON_ENABLE_INIT_INDEXING": "1"}, (3, 12), ["req"]),
        ({}, (3, 12), ["req", "context"]),
        ({"PYTHON_ENABLE_INIT_INDEXING": "0"}, (3, 11), ["req", "context"]),
        ({}, (3, 13), ["req"]),
        ({"SLUICE_HTTP_STREAMS": "false"}, (3, 13), ["req", "context"]),
    ],
)
def test_bodies_come_whole_where_the_worker_could_not_load_a_streaming_function(
    setting: dict[str, str], version: tuple[int, int], parameters: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below Python 3.13 such a function fails to load unless the app is indexed early: 404 for everything."""
    monkeypatch.setattr(sys, "version_info", (*version, 0, "final", 0))
    composition = Composition(SETTINGS.load(ENVIRONMENT | setting), Registry([]))
    [api] = gathered(composition, [make(composition) for make in CAPABILITIES]).functions
    assert list(inspect.signature(api.call).parameters) == parameters
