"""The page that describes the API to people: made from its OpenAPI document, without a script, and of one piece."""

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from starlette.responses import HTMLResponse, Response

__all__ = ["documentation_page"]

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1b1b1f; }
summary { cursor: pointer; padding: .5rem 0; } summary b { display: inline-block; width: 4.5rem; }
code, pre { font: 14px/1.4 ui-monospace, monospace; } pre { background: #f4f4f6; padding: 1rem; overflow: auto; }
td, th { text-align: left; vertical-align: top; padding: .2rem 1rem .2rem 0; }
"""
_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY = f"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; style-src 'sha256-{_DIGEST}'"


def documentation_page(described: Mapping[str, Any]) -> Response:
    """The page of an OpenAPI document; it loads nothing, from here or elsewhere.

    Parameters
    ----------
    described:
        The document; schemas are shown as they stand, in its own words.
    """
    title = escape(described["info"]["title"])
    operations = "".join(
        _operation(method, path, operation)
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    )
    schemas = "".join(
        f'<details id="{escape(name)}"><summary><code>{escape(name)}</code></summary>{_code(schema)}</details>'
        for name, schema in described.get("components", {}).get("schemas", {}).items()
    )
    page = (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head>"
        f'<body><h1>{title}</h1><p>For programs: <a href="openapi.json">openapi.json</a></p>'
        f"<h2>Operations</h2>{operations}<h2>Schemas</h2>{schemas}</body></html>"
    )
    return HTMLResponse(page, headers={"Content-Security-Policy": _POLICY})


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> str:
    return (
        f"<details><summary><b>{method.upper()}</b> <code>{escape(path)}</code> {escape(operation.get('summary', ''))}"
        f"</summary>{''.join(_parts(operation))}</details>"
    )


def _parts(operation: Mapping[str, Any]) -> Iterator[str]:
    if parameters := operation.get("parameters"):
        yield _table("Parameters", ((one["name"], f"{one['in']}: {_described(one)}") for one in parameters))
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"<h3>Body: <code>{escape(kind)}</code></h3>"
        for name, example in content.get("examples", {}).items():
            yield f"<p>{escape(example.get('summary', name))}</p>{_code(example['value'])}"
        yield _code(content.get("schema", {}))
    yield _table("Answers", ((code, _described(answer)) for code, answer in operation["responses"].items()))


def _described(described: Mapping[str, Any]) -> str:
    return str(described.get("description") or described.get("$ref", "").rpartition("/")[2])


def _table(title: str, rows: Iterator[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><th><code>{escape(name)}</code></th><td>{escape(text)}</td></tr>" for name, text in rows)
    return f"<h3>{title}</h3><table>{cells}</table>"


def _code(value: Any) -> str:
    return f"<pre>{escape(json.dumps(value, indent=2, ensure_ascii=False))}</pre>"
