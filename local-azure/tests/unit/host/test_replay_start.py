"""The start of the recorded app: its host.json, and its functions as the real worker and host exchanged them."""

import json
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from local_azure.host.functions import Function
from local_azure.host.host_json import load_host_json
from local_azure.host.indexing import index_app, load_app
from local_azure.host.settings import AppSettings

FOLDER = Path(__file__).parents[2] / "recordings"


@pytest.fixture
def functions(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Function]]:
    app = FOLDER / "app"
    monkeypatch.syspath_prepend(str(app))
    sys.modules.pop("function_app", None)
    monkeypatch.setattr("azure.functions.get_binding_registry", _Registry)  # no recorder in this process
    loaded = load_app(app, {})
    monkeypatch.undo()
    # The recorded app uses no HTTP streams, whoever else in this process has imported their extension.
    monkeypatch.delitem(sys.modules, "azurefunctions.extensions.base", raising=False)
    indexed, warnings = index_app(loaded, AppSettings({}))
    monkeypatch.undo()
    assert warnings == ()
    yield {each.name: each for each in indexed}
    sys.modules.pop("function_app", None)


class _Registry:
    def get(self, _: str) -> Any:
        return type("Converter", (), {"decode": None})


def messages(kind: str) -> Iterator[dict[str, Any]]:
    recorded = json.loads((FOLDER / "worker-protocol.json").read_text())["recorded"]
    return (each["message"] for each in recorded if each["kind"] == kind)


def test_the_recorded_host_json_is_taken_without_a_warning() -> None:
    options = load_host_json(FOLDER / "app" / "host.json", {})
    assert options.warnings == ()
    assert options.function_timeout == timedelta(minutes=5)
    assert (options.service_bus.max_message_batch_size, options.event_hubs.prefetch_count) == (64, 600)


def test_functions_have_the_bindings_that_the_worker_announced(functions: dict[str, Function]) -> None:
    (response,) = messages("function_metadata_response")
    for expected in response["function_metadata_results"]:
        function = functions[expected["name"]]
        mine = [function.trigger, *function.outputs, *([function.returns] if function.returns else [])]
        raw = {each["name"]: each for each in map(json.loads, expected["raw_bindings"])}
        assert {each.name: comparable(each.binding) for each in mine} == {
            name: comparable(each) for name, each in raw.items()
        }
        announced = {name: (each["type"], each.get("direction", "in")) for name, each in expected["bindings"].items()}
        assert {each.name: (each.binding["type"], str(each.binding["direction"]).lower()) for each in mine} == announced
        if options := expected.get("retry_options"):
            assert function.retry is not None
            assert function.retry.max_retry_count == options["max_retry_count"]
            assert (function.retry.minimum, function.retry.maximum) == (timedelta(seconds=1), timedelta(seconds=5))


def comparable(binding: Any) -> dict[str, Any]:
    return {name: value for name, value in binding.items() if value is not None}
