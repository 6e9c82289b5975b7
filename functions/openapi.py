"""What the API says of itself: the pieces that FastAPI can't see, since bodies are read by our own strict parser."""

from collections.abc import Collection, Iterable
from functools import cache
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from shared.messages import CLOUD_EVENT_TYPE, Handler

__all__ = ["block_docs", "command_docs", "describe_callers", "find_docs", "upload_docs", "view_docs"]

_ERROR = {
    "type": "object",
    "required": ["messageId", "status", "timestamp", "error", "retryable", "retryAfter"],
    "properties": {
        "messageId": {"type": ["string", "null"]},
        "status": {"const": "error"},
        "timestamp": {"type": "string", "format": "date-time"},
        "error": {
            "type": "object",
            "required": ["code", "message", "details"],
            "properties": {
                "code": {"type": "string"},
                "message": {"type": "string"},
                "details": {"type": "object"},
            },
        },
        "retryable": {"type": "boolean"},
        "retryAfter": {"type": ["integer", "null"]},
    },
}

_SUCCESS = {
    "type": "object",
    "required": ["messageId", "status", "timestamp", "processingTime", "acknowledgment"],
    "properties": {
        "messageId": {"type": "string", "format": "uuid"},
        "status": {"type": "string"},
        "timestamp": {"type": "string", "format": "date-time"},
        "processingTime": {"type": "integer", "description": "milliseconds"},
        "acknowledgment": {
            "type": "object",
            "properties": {name: {"type": "boolean"} for name in ("received", "processed", "stored")},
        },
    },
}

_ENVELOPE = {
    "type": "object",
    "required": ["messageId", "timestamp", "source", "eventType", "version", "data"],
    "properties": {
        "messageId": {"type": "string", "format": "uuid"},
        "timestamp": {"type": "string", "format": "date-time"},
        "source": {"type": "string", "minLength": 1, "maxLength": 256},
        "eventType": {"type": "string"},
        "version": {"type": "string"},
        "data": {"type": "object"},
    },
}

_NAMED_UPLOAD = {
    "type": "object",
    "description": "Stands for an upload, which is taken as the body.",
    "required": ["upload"],
    "properties": {
        "upload": {
            "type": "object",
            "required": ["id", "size", "sha256"],
            "properties": {
                "id": {"type": "string"},
                "size": {"type": "integer", "minimum": 1, "description": "bytes"},
                "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
            },
        }
    },
}

_UPLOAD = {
    "type": "object",
    "required": ["uploadId", "status", "timestamp", "expires", "largest", "blocks", "link"],
    "properties": {
        "uploadId": {"type": "string"},
        "status": {"const": "open"},
        "timestamp": {"type": "string", "format": "date-time"},
        "expires": {"type": "string", "format": "date-time", "description": "a message must name it before"},
        "largest": {"type": "integer", "description": "bytes of the whole upload"},
        "blocks": {
            "type": "object",
            "required": ["path", "size"],
            "properties": {"path": {"type": "string"}, "size": {"type": "integer", "description": "bytes of a block"}},
        },
        "link": {
            "type": ["object", "null"],
            "required": ["url", "method", "headers", "expires"],
            "properties": {
                "url": {"type": "string"},
                "method": {"type": "string"},
                "headers": {"type": "object"},
                "expires": {"type": "string", "format": "date-time"},
            },
        },
    },
}


_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
    "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
}


def _answer(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


_REFUSED = {
    "401": _answer("No credential, or one that doesn't hold.", _ERROR),
    "403": _answer("The caller lacks the role.", _ERROR),
}


def command_docs(handler: Handler | None) -> dict[str, Any]:
    """Route options of an endpoint that takes a command; with a handler its bare data is a second form."""
    forms: list[dict[str, Any]] = [_ENVELOPE]
    if handler is not None:
        forms.append(_data_schema(handler.model))
    forms.append(_NAMED_UPLOAD)
    body = {
        "application/json": {"schema": {"anyOf": forms}},
        CLOUD_EVENT_TYPE: {"schema": {"type": "object", "required": ["specversion", "id", "source", "type", "data"]}},
    }
    what = f"`{handler.event_type}` {handler.version}" if handler else "any event type that an integration handles"
    return {
        "status_code": 202,
        "summary": f"Take a message in: {what}",
        "tags": [handler.integration if handler else "messages"],
        "openapi_extra": {"requestBody": {"required": True, "content": body}},
        "responses": {
            202: _answer("Kept; `Location` tells where to ask what became of it.", _SUCCESS),
            400: _answer("The message breaks its contract; nothing was sent.", _ERROR),
            413: _answer("The body is too large: bring it as an upload.", _ERROR),
            415: _answer("The content type isn't taken.", _ERROR),
            503: _answer("Not kept just now: send it again with the same message id.", _ERROR),
        },
    }


def upload_docs() -> dict[str, Any]:
    """Route options of what opens an upload."""
    return {
        "status_code": 201,
        "summary": "Open an upload for a body over the limit",
        "tags": ["uploads"],
        "responses": {
            201: _answer("Open: send its blocks, or all of it to the link; then a message that names it.", _UPLOAD),
            503: _answer("Not just now.", _ERROR),
        },
    }


def block_docs() -> dict[str, Any]:
    """Route options of what takes a block of an upload."""
    schemas = {"uploadId": {"type": "string"}, "number": {"type": "integer", "minimum": 0}}
    parameters = [{"name": name, "in": "path", "required": True, "schema": schema} for name, schema in schemas.items()]
    content = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    return {
        "status_code": 204,
        "summary": "Send a block of an upload",
        "tags": ["uploads"],
        "openapi_extra": {"parameters": parameters, "requestBody": {"required": True, "content": content}},
        "responses": {
            400: _answer("No block: empty, incomplete, or its number is none.", _ERROR),
            404: _answer("There is no such upload, or it has ended.", _ERROR),
            413: _answer("The block is too large.", _ERROR),
            503: _answer("Not kept just now: send it again.", _ERROR),
        },
    }


def view_docs(name: str, parameter: str | None = None) -> dict[str, Any]:
    """Route options of an endpoint that is only read; `parameter` is the last part of its path."""
    answers: dict[int, dict[str, Any]] = {200: _answer("Found.", {"type": "object"})}
    if parameter is None:
        return {"summary": f"Read: {name}", "tags": ["read"], "responses": answers}
    answers[404] = _answer("Not there, or not there yet.", _ERROR)
    described = {"name": parameter, "in": "path", "required": True, "schema": {"type": "string"}}
    return {
        "summary": f"Read: {name}",
        "tags": ["read"],
        "responses": answers,
        "openapi_extra": {"parameters": [described]},  # a typed argument would load a second pydantic at start
    }


def find_docs(name: str, fields: Iterable[str]) -> dict[str, Any]:
    """Route options of an endpoint that finds rows by the value of one of some fields."""
    described = [
        {"name": field, "in": "query", "description": "One of these is given.", "schema": {"type": "string"}}
        for field in fields
    ]
    page = [
        {"name": "top", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}},
        {"name": "after", "in": "query", "schema": {"type": "string"}},
    ]
    answer = {
        "type": "object",
        "required": ["value", "count"],
        "properties": {
            "value": {"type": "array", "items": {"type": "object"}},
            "count": {"type": "integer"},
            "nextLink": {"type": "string"},
        },
    }
    return {
        "summary": f"Find: {name}",
        "tags": ["read"],
        "responses": {
            200: _answer("Those there are; `nextLink` leads to more.", answer),
            400: _answer("Not a question that can be answered.", _ERROR),
            403: _answer("Only an operator may ask.", _ERROR),
            404: _answer("The app encrypts no fields, so it has no index of them.", _ERROR),
        },
        "openapi_extra": {"parameters": [*described, *page]},
    }


def describe_callers(app: FastAPI, *, anonymous: Collection[str]) -> None:
    """Have the document say how callers are known: a bearer token or an API key, but for some paths."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = plain()
            schema.setdefault("components", {})["securitySchemes"] = _SCHEMES
            schema["security"] = [{name: []} for name in _SCHEMES]
            for path, methods in schema["paths"].items():
                for described in methods.values():
                    if path in anonymous:
                        described["security"] = []
                    else:
                        described["responses"] |= _REFUSED
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend it


@cache
def _data_schema(model: type[BaseModel]) -> dict[str, Any]:
    return _inlined(model.model_json_schema(by_alias=True))


def _inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """References point into the schema itself; OpenAPI has no `$defs` there, so they are put in place.

    A model that holds itself is described once; inside itself it is any object.
    """
    definitions = schema.pop("$defs", {})

    def resolve(node: Any, within: frozenset[str]) -> Any:
        if isinstance(node, dict):
            reference = node.get("$ref")
            if isinstance(reference, str):
                name = reference.rpartition("/")[2]
                return {"type": "object"} if name in within else resolve(definitions[name], within | {name})
            return {name: resolve(value, within) for name, value in node.items()}
        if isinstance(node, list):
            return [resolve(value, within) for value in node]
        return node

    resolved: dict[str, Any] = resolve(schema, frozenset())
    return resolved
