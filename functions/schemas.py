"""The named parts of the API's description: schemas, answers and headers that many routes share."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from shared.claim_check import LARGEST_UPLOAD
from shared.classification import plan_of
from shared.messages import ErrorCode, Handler

__all__ = [
    "ANSWERS",
    "HEADERS",
    "SCHEMAS",
    "Components",
    "Modelled",
    "Named",
    "command_schemas",
    "pascal",
    "published_schema",
    "reference",
    "singular",
]


@dataclass(frozen=True)
class Modelled:
    """Stands in a description for a model's schema.

    Attributes
    ----------
    shown:
        As the API writes it, masked for who may not see all; else as it reads it.
    """

    model: type[BaseModel]
    shown: bool = False


@dataclass(frozen=True, eq=False)
class Named:
    """Stands in a description for a schema of its own name."""

    name: str
    schema: Mapping[str, Any]


def reference(kind: str, name: str) -> dict[str, Any]:
    """A reference to a named part."""
    return {"$ref": f"#/components/{kind}/{name}"}


def pascal(name: str) -> str:
    """`order.placed` and `credit-notes` as names of types: `OrderPlaced`, `CreditNotes`."""
    return "".join(word[:1].upper() + word[1:] for word in re.split(r"[^A-Za-z0-9]+", name))


def singular(view: str) -> str:
    """What one row of a read model is called: `credit-notes` has a `CreditNote`."""
    return pascal(view[:-1] if view.endswith("s") and not view.endswith("ss") else view)


def _object(properties: Mapping[str, Any], *, optional: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    """An object whose properties are all there, but for some."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "required": required, **more, "properties": properties}


def _constant(value: str) -> dict[str, Any]:
    return {"type": "string", "const": value}


_TEXT = {"type": "string"}
_TIME = {"type": "string", "format": "date-time"}
_MESSAGE_ID = {"type": "string", "format": "uuid"}
_ANYTHING = {"type": "object", "additionalProperties": True}
_SHAPE = {"messageId": "9f0e2c6a-8f8e-4a52-9b5d-3d1a1a4a1b10", "timestamp": "2026-01-05T08:26:00.000Z"}
_CODES = [code.value for code in ErrorCode]
_STATUSES = {"type": "string", "enum": ["Healthy", "Degraded", "Unhealthy"]}
_STATES = ["accepted", "processing", "retrying", "succeeded", "deadLettered", "conflict"]
_ACCEPTED = {
    "messageId": _MESSAGE_ID,
    "status": _constant("accepted"),
    "timestamp": _TIME,
    "processingTime": {"type": "integer", "minimum": 0, "description": "milliseconds"},
    "acknowledgment": reference("schemas", "Acknowledgment"),
}
_OPERATION = {
    **_ACCEPTED,
    "status": {"type": "string", "enum": ["accepted", "succeeded", "failed"]},
    "state": {"type": "string", "examples": _STATES, "description": "more exactly; the list may grow"},
    "duplicate": {"type": "boolean", "description": "another request had brought the same message before"},
    "attempt": {"type": "integer", "description": "which comes, of a message that was tried before"},
    "nextTry": {**_TIME, "description": "when it comes"},
    "links": reference("schemas", "OperationLinks"),
    "error": reference("schemas", "ErrorDetail"),
}
_ERROR = {
    "messageId": {"type": ["string", "null"], "description": "send it again under this id, if retryable"},
    "status": _constant("error"),
    "timestamp": _TIME,
    "error": reference("schemas", "ErrorDetail"),
    "retryable": {"type": "boolean"},
    "retryAfter": {"type": ["integer", "null"], "description": "seconds"},
}
_ERROR_DETAIL = {
    "code": {"type": "string", "examples": _CODES, "description": "one of a list that may grow"},
    "message": _TEXT,
    "details": _ANYTHING,
}
_WHAT_RUNS = {
    "version": {"type": "string", "description": "Of the code."},
    "release": {"type": "string", "description": "What was deployed: SLUICE_RELEASE."},
}
_READINESS = {
    "status": _STATUSES,
    "timestamp": _TIME,
    "duration": _TEXT,
    **_WHAT_RUNS,
    "components": {"type": "array", "items": reference("schemas", "ReadinessComponent")},
}
_UPLOAD = {
    "uploadId": _TEXT,
    "status": _constant("open"),
    "timestamp": _TIME,
    "expires": {**_TIME, "description": "a message must name it before"},
    "largest": {"type": "integer", "description": "bytes of the whole upload"},
    "blocks": reference("schemas", "UploadBlocks"),
    "link": {"anyOf": [reference("schemas", "UploadLink"), {"type": "null"}]},
}
_UPLOADED = {
    "id": {"type": "string", "pattern": "^[A-Za-z0-9_=-]+$", "maxLength": 128},
    "size": {"type": "integer", "minimum": 1, "maximum": LARGEST_UPLOAD, "description": "bytes"},
    "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
}
_BULK_LINE_IS = "What became of one message of a bulk."
_BULK_LINE = {
    "line": {"type": "integer", "minimum": 1, "description": "its number in the bulk"},
    "status": {"type": "integer", "description": "as if it had come alone: 202, 400, 413 or 503"},
    "messageId": {"type": ["string", "null"]},
    "operation": {"type": "string", "description": "where to ask what became of it"},
    "error": reference("schemas", "ErrorDetail"),
    "retryable": {"type": "boolean"},
}
_BULK = {
    "status": {"type": "string", "examples": ["processing", "completed", "stopped", "interrupted", "unknown"]},
    "through": {"type": "integer", "minimum": 0, "description": "every message to this number was accepted or refused"},
    **{name: {"type": "integer", "minimum": 0} for name in ("accepted", "refused", "failed")},
    "updated": _TIME,
    "error": reference("schemas", "BulkError"),
}
_LINK_HEADERS = {"type": "object", "additionalProperties": _TEXT}
SCHEMAS: dict[str, dict[str, Any]] = {
    "Accepted": _object(_ACCEPTED),
    "Acknowledgment": _object({name: {"type": "boolean"} for name in ("received", "processed", "stored")}),
    "BulkLine": _object(_BULK_LINE, optional=("operation", "error", "retryable"), description=_BULK_LINE_IS),
    "BulkProgress": _object(_BULK, optional=("error",)),
    "BulkError": _object({"code": _TEXT, "message": _TEXT, "retryAfter": {"type": ["integer", "null"]}}),
    "Error": _object(_ERROR),
    "ErrorDetail": _object(_ERROR_DETAIL),
    "Health": _object({"status": _constant("Healthy"), "timestamp": _TIME, **_WHAT_RUNS}, optional=(*_WHAT_RUNS,)),
    "Operation": _object(_OPERATION, optional=("state", "duplicate", "attempt", "nextTry", "links", "error")),
    "OperationLinks": _object(
        {"results": {"type": "array", "items": _TEXT, "description": "where what was made is read"}}
    ),
    "Readiness": _object(_READINESS, optional=(*_WHAT_RUNS,)),
    "ReadinessComponent": _object(
        {
            "name": _TEXT,
            "status": _STATUSES,
            "description": _TEXT,
            "data": {**_ANYTHING, "description": "For operators."},
        },
        optional=("data",),
    ),
    "Upload": _object(_UPLOAD),
    "UploadBlocks": _object({"path": _TEXT, "size": {"type": "integer", "description": "bytes of a block"}}),
    "UploadLink": _object({"url": _TEXT, "method": _TEXT, "headers": _LINK_HEADERS, "expires": _TIME}),
    "UploadReference": _object(
        {"upload": reference("schemas", "Uploaded")},
        description="Stands for an upload, which is taken as the body.",
        additionalProperties=False,
    ),
    "Uploaded": _object(_UPLOADED, additionalProperties=False),
}

HEADERS: dict[str, dict[str, Any]] = {
    "CorrelationId": {"description": "The request's own, or a new one: logs have it.", "schema": {"type": "string"}},
    "ETag": {"description": "Another one for every other answer (RFC 9110).", "schema": {"type": "string"}},
    "RetryAfter": {"description": "Seconds to wait.", "schema": {"type": "integer"}},
    "Challenge": {"description": "How to say who is calling (RFC 6750).", "schema": {"type": "string"}},
    "Location": {"description": "Where to ask what became of this request.", "schema": {"type": "string"}},
    "PreferenceApplied": {"description": "How long was waited (RFC 7240).", "schema": {"type": "string"}},
    "Version": {
        "description": "The number of the newest event that the row has, or that the operation has published.",
        "schema": {"type": "string"},
    },
    "OperationId": {"description": "The operation's id.", "schema": {"type": "string"}},
    "OperationRequest": {"description": "This request under that id.", "schema": {"type": "string"}},
}
_CORRELATED = {"X-Correlation-ID": reference("headers", "CorrelationId")}


def _error(description: str, code: str, message: str, *, retry: int | None = None, **headers: str) -> dict[str, Any]:
    example = {
        **_SHAPE,
        "messageId": None,
        "status": "error",
        "error": {"code": code, "message": message, "details": {}},
        "retryable": retry is not None,
        "retryAfter": retry,
    }
    named = {name.replace("_", "-"): reference("headers", part) for name, part in headers.items()}
    return {
        "description": description,
        "headers": _CORRELATED | named,
        "content": {"application/json": {"schema": reference("schemas", "Error"), "example": example}},
    }


ANSWERS: dict[str, dict[str, Any]] = {
    "BadRequest": _error(
        "The request breaks its contract; nothing was done.", "VALIDATION_ERROR", "data.orderId: Field required"
    ),
    "Unauthenticated": _error(
        "No credential, or one that doesn't hold.", "UNAUTHENTICATED", "Say who you are.", WWW_Authenticate="Challenge"
    ),
    "Forbidden": _error(
        "The caller lacks the role.", "FORBIDDEN", "This needs the role producer.", WWW_Authenticate="Challenge"
    ),
    "NotFound": _error("Not there, or not there yet.", "NOT_FOUND", "There is nothing under orders/536365."),
    "PreconditionFailed": _error(
        "Not the version that `If-Match` names.", "PRECONDITION_FAILED", "It isn't the version that the request names."
    ),
    "PayloadTooLarge": _error(
        "The body is too large: bring it as an upload.", "PAYLOAD_TOO_LARGE", "The body is larger than 8388608 bytes."
    ),
    "UnsupportedMediaType": _error(
        "The content type or encoding isn't taken.", "UNSUPPORTED_MEDIA_TYPE", "Send Content-Type: application/json."
    ),
    "KeyUsedBefore": _error(
        "The key was used before for another payload; nothing was done.", "MESSAGE_ID_CONFLICT",
        "This key was used before for another payload; a new message needs a new key.",
    ),
    "TooManyRequests": _error(
        "The gateway's limit, or that of the client's plan.", "TOO_MANY_REQUESTS",
        "Too many calls. Send this again later.", retry=60,
        Retry_After="RetryAfter",
    ),
    "InternalError": _error("The app is at fault.", "INTERNAL_ERROR", "Something went wrong here."),
    "Unavailable": _error(
        "Not just now: ask again, or send it again with the same message id.", "UNAVAILABLE",
        "The message could not be kept just now. Send it again with the same message id.", retry=2,
        Retry_After="RetryAfter",
    ),
}  # fmt: skip


def command_schemas(handler: Handler) -> tuple[Named, Named]:
    """A command's envelope, and its CloudEvent, each under the name of its event type."""
    name = pascal(handler.event_type) + ("" if handler.version == "1.0" else f"V{pascal(handler.version)}")
    source = {"type": "string", "minLength": 1, "maxLength": 256}
    data: Any = _ANYTHING if handler.described is None else Modelled(handler.described)
    envelope = _object(
        {
            "messageId": _MESSAGE_ID,
            "timestamp": _TIME,
            "source": source,
            "eventType": _constant(handler.event_type),
            "version": _constant(handler.version),
            "data": data,
        }
    )
    event = _object(
        {
            "specversion": _constant("1.0"),
            "id": source,
            "source": source,
            "type": _constant(handler.event_type),
            "data": data,
            "time": _TIME,
            "dataschema": _constant(f"urn:sluice:{handler.event_type}:{handler.version}"),
            "datacontenttype": _constant("application/json"),
        },
        optional=("time", "dataschema", "datacontenttype"),
        description="A CloudEvent 1.0; its `dataschema` ends with the version.",
    )
    return Named(name, envelope), Named(f"{name}CloudEvent", event)


def published_schema(event_type: str, version: str, model: type[BaseModel]) -> Named:
    """An event as the hub carries it."""
    text = {"type": "string", "minLength": 1}
    event = _object(
        {
            "specversion": _constant("1.0"),
            "id": text,
            "type": _constant(event_type),
            "source": text,
            "subject": text,
            "time": _TIME,
            "datacontenttype": _constant("application/json"),
            "dataschema": _constant(f"urn:sluice:{event_type}:{version}"),
            "correlationid": _TEXT,
            "sequence": _TEXT,
            "traceparent": _TEXT,
            "data": Modelled(model),
        },
        optional=("traceparent",),
        description="A CloudEvent 1.0; `sequence` counts the events of its subject without a gap.",
    )
    return Named(pascal(event_type) + ("" if version == "1.0" else f"V{pascal(version)}") + "Event", event)


class Components:
    """The schemas of some models under their own names, and what stands for them in descriptions."""

    def __init__(self, models: Iterable[Modelled]) -> None:
        from pydantic.json_schema import models_json_schema  # with the first who asks for the description

        wanted = list(dict.fromkeys(models))
        inputs = [(one.model, "serialization" if one.shown else "validation") for one in wanted]
        template = "#/components/schemas/{model}"
        found, document = models_json_schema(inputs, by_alias=True, ref_template=template)  # type: ignore[arg-type]
        read = {one.model for one in wanted if not one.shown}
        self.schemas: dict[str, Any] = {name: _tidy(schema) for name, schema in document.get("$defs", {}).items()}
        self._names: dict[Modelled, str] = {}
        for one, (model, mode) in zip(wanted, inputs, strict=True):
            name = found[(model, mode)]["$ref"].rpartition("/")[2]  # type: ignore[index]
            if one.shown and plan_of(model).protects:
                masked = _masked(self.schemas[name], plan_of(model).fields)
                name = f"{name}Row" if model in read else name
                self.schemas[name] = masked
            self._names[one] = name

    def resolved(self, node: Any) -> Any:
        """A description with references for what stands for schemas."""
        if isinstance(node, Modelled):
            return reference("schemas", self._names[node])
        if isinstance(node, Named):
            if node.name not in self.schemas:
                self.schemas[node.name] = {}  # it may hold itself
                self.schemas[node.name] = self.resolved(node.schema)
            return reference("schemas", node.name)
        if isinstance(node, Mapping):
            return {str(name): self.resolved(value) for name, value in node.items()}
        return [self.resolved(value) for value in node] if isinstance(node, list | tuple) else node


def _masked(schema: Mapping[str, Any], protected: Iterable[str]) -> dict[str, Any]:
    """A row as a caller may see it: instead of a protected value its token, or null, and where that was done."""
    properties = dict(schema.get("properties", {}))
    for name in set(protected) & properties.keys():
        properties[name] = {"type": ["string", "null"], "description": "a token, or null, for who may not see it"}
    pointers = {"type": "array", "items": {"type": "string"}}
    properties["$masked"] = {**pointers, "description": "JSON pointers to what the caller may not see"}
    properties["$erased"] = {**pointers, "description": "JSON pointers to what was erased"}
    return {**schema, "properties": properties}


def _tidy(schema: Any) -> Any:
    """A model's schema without titles of fields, and with lists of types instead of unions that have no name."""
    if isinstance(schema, list):
        return [_tidy(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    tidy = {name: _tidy(value) for name, value in schema.items() if name not in ("title", "properties", "$defs")}
    if "properties" in schema:
        tidy["properties"] = {name: _tidy(value) for name, value in schema["properties"].items()}
    forms = tidy.get("anyOf", [])
    if forms and all(isinstance(one.get("type"), str) and one.keys().isdisjoint(("enum", "const")) for one in forms):
        del tidy["anyOf"]
        types = [one["type"] for one in forms]
        tidy = {**{name: value for one in forms for name, value in one.items()}, **tidy, "type": types}
    return tidy
