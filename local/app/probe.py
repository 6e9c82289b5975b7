"""Imports an app's `function_app.py` and writes what it consists of as JSON; runs as a script of its own.

`python probe.py FOLDER OUTPUT [--path DIR]... [--constant MODULE:NAME]... [--declared]` needs nothing but the standard
library, so that it can be run where only the app's requirements are installed.
"""

import argparse
import asyncio
import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

__all__: list[str] = []


def main(arguments: list[str]) -> int:
    """Describe the app; 0, or the traceback of what kept it from being imported."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("output")
    parser.add_argument("--path", action="append", default=[])
    parser.add_argument("--constant", action="append", default=[])
    parser.add_argument("--declared", action="store_true")
    given = parser.parse_args(arguments)
    sys.path[:0] = [given.folder, *given.path]
    began = time.perf_counter()
    module = importlib.import_module("function_app")
    seconds = time.perf_counter() - began
    described = {
        "seconds": seconds,
        "functions": [_function(one) for one in module.app.get_functions()],
        "settings": _settings(module.settings),
        "constants": {name: _constant(name) for name in given.constant},
    }
    if given.declared:
        described |= _declared(module)
    Path(given.output).write_text(json.dumps(described), encoding="utf-8")
    return 0


def _declared(module: Any) -> dict[str, Any]:
    """What the app says of itself, and how it describes its API to whoever asks."""
    composing = importlib.import_module("functions.composition")
    api = importlib.import_module("functions.composition.api")
    offered = [one for one in module.capabilities if one.name != api.NAME]
    app = api.gathered_app(module.composition, offered)
    return {
        "declarations": composing.declarations(module.capabilities, module.composition.registry, type(module.settings)),
        "openapi": json.loads(asyncio.run(_got(app, "/api/openapi.json"))),
        "asyncapi": _contracts(module.composition),
        "graph": _graph(module.composition),
    }


def _contracts(composition: Any) -> Any:
    """The contracts of messages."""
    described = importlib.import_module("functions.contracts").contracts
    return described(composition.registry, hub=composition.settings.event_hub)


def _graph(composition: Any) -> str:
    """The schema of the graph, in its own language."""
    printer = importlib.import_module("graphql")
    engine = composition.get(importlib.import_module("functions.composition.graphql").graph_engine)
    return str(printer.print_schema(engine.schema))


async def _got(app: Any, path: str) -> bytes:
    """The body of an answer of an ASGI app."""
    body = bytearray()
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [],
        "client": ("127.0.0.1", 1),
        "server": ("localhost", 80),
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        body.extend(message.get("body", b""))

    await app(scope, receive, send)
    return bytes(body)


def _function(indexed: Any) -> dict[str, Any]:
    retry = indexed.get_settings_dict("retry_policy") or None
    return {
        "name": indexed.get_function_name(),
        "bindings": json.loads(indexed.get_function_json())["bindings"],
        "retry": retry and {name: value for name, value in retry.items() if name != "setting_name"},
    }


def _settings(settings: Any) -> list[dict[str, Any]]:
    """Alias, bounds and default of every field of the settings model; no value that may be secret."""
    described = []
    for name, field in type(settings).model_fields.items():
        annotation = str(field.annotation)
        default = field.default
        plain = isinstance(default, str | int | float | bool) and "Secret" not in annotation
        bounds = {
            bound: getattr(one, bound)
            for one in field.metadata
            for bound in ("ge", "gt", "le", "lt")
            if hasattr(one, bound)
        }
        described.append(
            {
                "name": field.alias or name,
                "attribute": name,
                "required": field.is_required(),
                "connection": "Connection" in annotation,
                "secret": "Secret" in annotation,
                "default": default if plain else None,
                "bounds": bounds,
            }
        )
    return described


def _constant(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
