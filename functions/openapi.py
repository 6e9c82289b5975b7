"""What the API says of itself: an OpenAPI document, made from the routes and their models."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from shared.bulk import BATCH_TYPE, NDJSON
from shared.health import VERSION
from shared.http import Route
from shared.messages import CLOUD_EVENT_TYPE, Handler

from .schemas import (
    ANSWERS,
    HEADERS,
    SCHEMAS,
    Components,
    Modelled,
    Named,
    command_schemas,
    pascal,
    reference,
    singular,
)

__all__ = [
    "ODATA_METADATA_DOCS",
    "ODATA_SERVICE_DOCS",
    "block_docs",
    "bulk_docs",
    "bulk_operation_docs",
    "command_docs",
    "document",
    "find_docs",
    "graphql_docs",
    "health_docs",
    "operation_docs",
    "query_docs",
    "row_docs",
    "upload_docs",
]

_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
    "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
}
_OLDER = "The older question by one value; it takes no option with a dollar."
_CORRELATION = {"X-Correlation-ID": reference("headers", "CorrelationId")}
_PARAMETERS = {
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "Stands for a body that names no message id: the same again is the same message. Any text of the"
        " client's own, bare or as a structured string, for each command apart; a bare UUID of 36 characters is the"
        " message id itself.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[\x21\x23-\x2b\x2d-\x7e]+$"},
    },
    "CorrelationId": {
        "name": "X-Correlation-ID",
        "in": "header",
        "description": "Goes along to every log line, message and event; one is made where it is missing or strange.",
        "schema": {"type": "string"},
    },
}


def _answer(description: str, schema: Any, **headers: str) -> dict[str, Any]:
    named = {name.replace("_", "-"): reference("headers", part) for name, part in headers.items()}
    return {
        "description": description,
        "headers": _CORRELATION | named,
        "content": {"application/json": {"schema": schema}},
    }


def _errors(**named: str) -> dict[str, Any]:
    """By status with a letter before it: the name of an answer."""
    return {status[1:]: _named_answer(name) for status, name in named.items()}


def _named_answer(name: str) -> dict[str, Any]:
    return {**reference("responses", name), "description": ANSWERS[name]["description"]}


def _in(place: str, name: str, schema: Mapping[str, Any], text: str = "", *, required: bool = False) -> dict[str, Any]:
    found: dict[str, Any] = {"name": name, "in": place, "required": required or place == "path", "schema": schema}
    return {**found, "description": text} if text else found


_NOT_READ = {
    "304": {"description": "As `If-None-Match` or `If-Modified-Since` has it.", "headers": _CORRELATION},
    **_errors(s412="PreconditionFailed"),
}


def webhook_docs(source: str, method: str) -> dict[str, Any]:
    """Where a source sends what it tells, in its own form."""
    words = f"{source}-{'' if method == 'POST' else method.lower()}".strip("-")
    return {
        "operationId": f"receive{pascal(words)}",
        "summary": f"What {source} tells, signed by it",
        "tags": ["webhooks"],
        **({"requestBody": {"required": True, "content": {"*/*": {}}}} if method == "POST" else {}),
        "responses": {
            "200": {"description": "Kept, or an answer of the sender's own kind.", "headers": _CORRELATION},
            "204": {"description": "Kept.", "headers": _CORRELATION},
            **_errors(s401="Unauthenticated", s413="PayloadTooLarge"),
        },
    }


def command_docs(handler: Handler | None, handlers: Sequence[Handler]) -> dict[str, Any]:
    """The endpoint that takes a command: a handler's, whose bare data is a form too, or any of some handlers'."""
    upload = reference("schemas", "UploadReference")
    described = [command_schemas(one) for one in _versions(handler, handlers)]
    envelopes, events = [one for one, _ in described], [one for _, one in described]
    if handler is None:
        forms: list[Any] = [Named("Message", {"anyOf": envelopes or [{"type": "object"}]}), upload]
        event: Any = Named("MessageCloudEvent", {"anyOf": events or [{"type": "object"}]})
        name, what = "sendMessage", "any command that an integration handles"
    else:
        forms, event = [*envelopes, Modelled(handler.model), upload], _any_of(events)
        version = "" if handler.version == "1.0" else f"V{pascal(handler.version)}"
        name, what = f"create{handler.model.__name__}{version}", f"`{handler.event_type}` {handler.version}"
    json: dict[str, Any] = {"schema": {"anyOf": forms}}
    if handler is not None and (examples := _examples(handler.model)):
        json["examples"] = {f"example{number}": {"value": one} for number, one in enumerate(examples, 1)}
    link = {
        "operationId": "getOperation",
        "description": "What became of this request.",
        "parameters": {
            "operationId": "$response.header.Operation-Id",
            "request": "$response.header.Operation-Request",
        },
    }
    accepted = _answer(
        "Kept; `Location` tells where to ask what became of it.", reference("schemas", "Accepted"),
        Location="Location", Operation_Id="OperationId", Operation_Request="OperationRequest", Retry_After="RetryAfter",
    )  # fmt: skip
    return {
        "operationId": name,
        "summary": f"Take a message in: {what}",
        "tags": [handler.integration if handler else "messages"],
        "parameters": [_PARAMETERS["IdempotencyKey"]],
        "requestBody": {"required": True, "content": {"application/json": json, CLOUD_EVENT_TYPE: {"schema": event}}},
        "responses": {
            "202": {**accepted, "links": {"operation": link}},
            **_errors(s404="NotFound", s413="PayloadTooLarge", s415="UnsupportedMediaType", s422="KeyUsedBefore"),
        },
    }


def _versions(handler: Handler | None, handlers: Sequence[Handler]) -> Sequence[Handler]:
    """The handler of a path, and the earlier versions that are brought up to it; all handlers without one."""
    if handler is None:
        return handlers
    return [handler, *(one for one in handlers if one.upcasters and one.event_type == handler.event_type)]


def _any_of(schemas: Sequence[Named]) -> Any:
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


_LINES = {
    "type": "string",
    "description": "One JSON object a line, each what the path without `/bulk` takes as a body; or a single line, an "
    "`UploadReference`.",
}
_ANSWERED = {
    "type": "string",
    "description": "A `BulkLine` for each message, in their order. The last line, and one now and then while there is "
    "nothing else to say, has only `bulk`, a `BulkProgress` and its `operation`.",
}


def bulk_docs(handler: Handler | None, handlers: Sequence[Handler]) -> dict[str, Any]:
    """The endpoint that takes many commands: a handler's, or any of some handlers'."""
    events = [command_schemas(one)[1] for one in _versions(handler, handlers)]
    event: Any = _any_of(events) if handler else Named("MessageCloudEvent", {"anyOf": events or [{"type": "object"}]})
    version = "" if handler is None or handler.version == "1.0" else f"V{pascal(handler.version)}"
    answer = _answer("", _ANSWERED, Location="Location", Operation_Id="OperationId")
    answer["content"] = {NDJSON: {"schema": _ANSWERED}}
    refused = {**answer["content"], "application/json": {"schema": reference("schemas", "Error")}}
    return {
        "operationId": f"create{handler.model.__name__}Bulk{version}" if handler else "sendMessages",
        "summary": "Take many messages in",
        "tags": [handler.integration if handler else "messages"],
        "parameters": [
            _PARAMETERS["IdempotencyKey"],
            _in("query", "after", {"type": "integer", "minimum": 0}, "Messages up to this number are passed over."),
        ],
        "requestBody": {
            "required": True,
            "content": {NDJSON: {"schema": _LINES}, BATCH_TYPE: {"schema": {"type": "array", "items": event}}},
        },
        "responses": {
            "202": {**answer, "description": "All were accepted."},
            "207": {
                **answer,
                "description": "Each line says what became of its message; always so where there are many.",
            },
            "400": {**answer, "description": "None was accepted; an error where none was read.", "content": refused},
            "503": {
                **answer,
                "description": "None was kept.",
                "headers": {**answer["headers"], "Retry-After": reference("headers", "RetryAfter")},
                "content": refused,
            },
            **_errors(s404="NotFound", s413="PayloadTooLarge", s415="UnsupportedMediaType"),
        },
    }


def bulk_operation_docs() -> dict[str, Any]:
    """How far a bulk came."""
    return {
        "operationId": "getBulkOperation",
        "summary": "How far a bulk came",
        "tags": ["messages"],
        "parameters": [_in("path", "bulkId", {"type": "string"})],
        "responses": {
            "200": _answer("So far.", reference("schemas", "BulkProgress"), Retry_After="RetryAfter"),
            **_errors(s404="NotFound"),
        },
    }


def _examples(model: type[BaseModel]) -> list[Any]:
    extra = model.model_config.get("json_schema_extra")
    found = extra.get("examples", []) if isinstance(extra, dict) else []
    return list(found) if isinstance(found, list) else []


def operation_docs() -> dict[str, Any]:
    """What became of a request."""
    return {
        "operationId": "getOperation",
        "summary": "What became of a request",
        "tags": ["messages"],
        "parameters": [
            _in("path", "operationId", {"type": "string"}),
            _in("query", "request", {"type": "string"}, "Which of the requests under this id."),
            _in(
                "header", "Prefer", {"type": "string"}, "`wait=20` answers as soon as its end is known, or after 20 s."
            ),
        ],
        "responses": {
            "200": _answer(
                "Its status.",
                reference("schemas", "Operation"),
                Retry_After="RetryAfter",
                Preference_Applied="PreferenceApplied",
                Sluice_Version="Version",
            ),
            **_errors(s404="NotFound"),
        },
    }


def upload_docs() -> dict[str, Any]:
    """What opens an upload."""
    opened = _answer(
        "Open: send its blocks, or all of it to the link; then a message that names it.", reference("schemas", "Upload")
    )
    return {
        "operationId": "openUpload",
        "summary": "Open an upload for a body over the limit",
        "tags": ["uploads"],
        "parameters": [
            _in(
                "query",
                "for",
                {"type": "string", "enum": ["message", "bulk"]},
                "What it is to be; a message's is bounded.",
            )
        ],
        "responses": {"201": opened},
    }


def block_docs(last: int, *, bulk: bool) -> dict[str, Any]:
    """What takes a block of an upload, whose number is at most `last`."""
    content = {"application/octet-stream": {"schema": {"type": "string", "format": "binary", "minLength": 1}}}
    return {
        "operationId": "putBulkUploadBlock" if bulk else "putUploadBlock",
        "summary": f"Send a block of {'a bulk' if bulk else 'an upload'}",
        "tags": ["uploads"],
        "parameters": [
            _in("path", "uploadId", {"type": "string"}),
            _in("path", "number", {"type": "integer", "minimum": 0, "maximum": last}),
        ],
        "requestBody": {"required": True, "content": content},
        "responses": {
            "204": {"description": "Kept.", "headers": _CORRELATION},
            **_errors(s404="NotFound", s413="PayloadTooLarge"),
        },
    }


def row_docs(view: str, models: Sequence[type[BaseModel]]) -> dict[str, Any]:
    """One row of a read model, which has the shape of one of some models; any shape where there are none."""
    return {
        "operationId": f"get{singular(view)}",
        "summary": f"Read: {view}",
        "tags": ["read"],
        "parameters": [
            _in("path", "key", {"type": "string", "minLength": 1, "maxLength": 128}),
            _in(
                "header",
                "Sluice-Min-Version",
                {"type": "string", "pattern": "^[0-9]{1,18}$"},
                "The `Sluice-Version` that the row has to have at least, as the operation's answer says it; else 412.",
            ),
            _in("header", "Prefer", {"type": "string"}, "`wait=20` waits for that version, 20 s at most."),
        ],
        "responses": {
            "200": _answer("Found.", _row(models), ETag="ETag", Sluice_Version="Version"),
            **_NOT_READ,
            **_errors(s404="NotFound"),
        },
    }


def find_docs(view: str, fields: Iterable[str], models: Sequence[type[BaseModel]]) -> dict[str, Any]:
    """The rows of a read model by the value of one of some fields."""
    names = list(fields)
    by = {"type": "string", "minLength": 1, "maxLength": 256}
    page = {
        "type": "object",
        "required": ["value", "count"],
        "properties": {
            "value": {"type": "array", "items": _row(models)},
            "count": {"type": "integer", "minimum": 0},
            "nextLink": {"type": "string", "description": "Where there may be more."},
        },
    }
    key = {"type": "string", "maxLength": 128, "pattern": r"^[^\u0000-\u001f\u007f-\u009f]*$"}
    return {
        "operationId": f"find{pascal(view)}",
        "summary": f"Find: {view}",
        "tags": ["read"],
        "parameters": [
            *(_in("query", name, by, "Exactly one of these is given.", required=len(names) == 1) for name in names),
            _in("query", "top", {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}, "Rows of a page."),
            _in("query", "after", key, "The key after which the page begins."),
        ],
        "responses": {
            "200": _answer(
                "Those there are; `nextLink` leads to more.", Named(f"{singular(view)}Page", page), ETag="ETag"
            ),
            **_NOT_READ,
            **_errors(s404="NotFound"),
        },
    }


def graphql_docs(way: str) -> dict[str, Any]:
    """GraphQL by `POST`, by `GET`, or as a `STREAM` of events."""
    text, anything = {"type": "string"}, {"type": "object", "additionalProperties": True}
    asked = {"query": text, "operationName": text, "variables": anything, "extensions": anything}
    error_list = {"type": "array", "items": anything}
    answer = {"type": "object", "properties": {"data": {}, "errors": error_list, "extensions": anything}}
    found = _answer("Data, errors, or both.", Named("GraphQLAnswer", answer))
    if way == "STREAM":
        found["content"] = {"text/event-stream": {"schema": text}}
    body = {"content": {"application/json": {"schema": Named("GraphQLQuery", {"type": "object", "properties": asked})}}}
    query = [_in("query", name, text) for name in asked]
    return {
        "operationId": {"POST": "queryGraph", "GET": "getGraph", "STREAM": "followGraph"}[way],
        "summary": "Ask the graph of the read models" if way != "STREAM" else "Follow the graph as it changes",
        "tags": ["read"],
        **({"parameters": query} if way == "GET" else {"requestBody": {"required": True, **body}}),
        "responses": {"200": found, **_errors(s413="PayloadTooLarge", s415="UnsupportedMediaType")},
    }


def query_docs(view: str, fields: Collection[str], models: Sequence[type[BaseModel]]) -> dict[str, Any]:
    """The rows of a read model by a query, or by the value of one of some fields."""
    docs = find_docs(view, fields, models)
    older = [{**one, "required": False, "description": _OLDER} for one in docs["parameters"] if fields]
    text = {"type": "string", "maxLength": 1_024}
    asked = [
        _in("query", "$filter", {"type": "string", "maxLength": 4_096}, "Which rows, by OData's grammar."),
        _in("query", "$select", text, "Fields of each row, with commas between."),
        _in("query", "fields", text, "Another name of `$select`."),
        _in("query", "$orderby", text, "Fields, each with `asc` or `desc` after it or nothing."),
        _in("query", "$top", {"type": "integer", "minimum": 0, "maximum": 1_000}, "Rows of a page; 50 without."),
        _in("query", "$skip", {"type": "integer", "minimum": 0, "maximum": 10_000}, "Rows to leave out first."),
        _in("query", "$count", {"type": "boolean"}, "Whether `totalCount` is wanted."),
        _in("query", "$expand", text, "Lists of objects to show: `lines($select=sku;$top=5)`."),
        _in("query", "$skiptoken", {"type": "string", "maxLength": 4_096}, "Where to go on; `nextLink` has it."),
    ]
    page = docs["responses"]["200"]["content"]["application/json"]["schema"]
    number = {"type": "integer", "minimum": 0, "description": "Of all rows that fit, where `$count` was asked."}
    page.schema["properties"] |= {"totalCount": number, "@odata.count": number}
    return {
        **docs,
        "description": "Answered by the indexes that are declared; a query that none of them serves is refused.",
        "parameters": [*asked, *older],
    }


ODATA_SERVICE_DOCS: Mapping[str, Any] = {
    "operationId": "getODataService",
    "summary": "OData: what there is to read",
    "tags": ["read"],
    "responses": {"200": _answer("The service document.", {"type": "object"})},
}
ODATA_METADATA_DOCS: Mapping[str, Any] = {
    "operationId": "getODataMetadata",
    "summary": "OData: the types of all rows",
    "tags": ["read"],
    "responses": {
        "200": {
            "description": "CSDL XML.",
            "headers": _CORRELATION,
            "content": {"application/xml": {"schema": {"type": "string"}}},
        }
    },
}


def _row(models: Sequence[type[BaseModel]]) -> Any:
    shown = [Modelled(model, shown=True) for model in models]
    return shown[0] if len(shown) == 1 else {"anyOf": shown} if shown else {"type": "object"}


def health_docs(name: str) -> dict[str, Any]:
    """`Health` or `Readiness`."""
    unwell = {"503": _answer("Something can't be reached.", reference("schemas", name))} if name == "Readiness" else {}
    answer = _answer("It is.", reference("schemas", name))
    return {
        "operationId": f"get{name}",
        "summary": f"Read: {name.lower()}",
        "tags": ["read"],
        "responses": {"200": answer, **unwell},
    }


def document(routes: Iterable[Route], *, server: str, checks_callers: bool) -> dict[str, Any]:
    """The whole document.

    Parameters
    ----------
    server:
        Where callers reach the app; empty where they reach it directly.
    checks_callers:
        Whether callers have to say who they are, where a route isn't for everybody.
    """
    described = [(route, _operation(route, checks_callers)) for route in routes]
    components = Components(_models(operation for _, operation in described))
    paths: dict[str, Any] = {}
    for route, operation in described:
        paths.setdefault(route.full_path, {})[route.method.lower()] = components.resolved(operation)
    _name_each(one for methods in paths.values() for one in methods.values())
    parts = {
        "schemas": dict(sorted({**SCHEMAS, **components.schemas}.items())),
        "responses": ANSWERS,
        "headers": HEADERS,
    }
    security: dict[str, Any] = {"security": [{name: []} for name in _SCHEMES]} if checks_callers else {}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Sluice", "version": VERSION, "license": {"name": "MIT", "identifier": "MIT"}},
        "servers": [{"url": server or "/"}],
        "paths": paths,
        "components": {**parts, "securitySchemes": _SCHEMES} if checks_callers else parts,
        **security,
    }


def _operation(route: Route, checks_callers: bool) -> dict[str, Any]:
    given = dict(route.docs)
    parameters = [*given.get("parameters", ()), _PARAMETERS["CorrelationId"]]
    known = {one.get("name") for one in parameters}
    for name in route.parameters:
        if name not in known:
            parameters.append(_in("path", name, {"type": "string"}))
    answers = {"400": "BadRequest", "500": "InternalError", "503": "Unavailable"}
    if checks_callers and route.access is not None:
        answers |= {"401": "Unauthenticated", "403": "Forbidden", "429": "TooManyRequests"}
    elif checks_callers:
        given["security"] = []
    responses = {status: _named_answer(name) for status, name in answers.items()}
    responses |= given.get("responses") or {"200": {"description": "Done.", "headers": _CORRELATION}}
    given.setdefault("operationId", f"{route.method.lower()}{pascal(route.path)}")
    return {**given, "parameters": parameters, "responses": dict(sorted(responses.items()))}


def _models(node: Any) -> Iterator[Modelled]:
    if isinstance(node, Modelled):
        yield node
    elif isinstance(node, Named):
        yield from _models(node.schema)
    elif not isinstance(node, str):
        values = node.values() if isinstance(node, Mapping) else node if isinstance(node, Iterable) else ()
        for value in values:
            yield from _models(value)


def _name_each(operations: Iterable[dict[str, Any]]) -> None:
    """Two routes may take one model: the second is numbered."""
    seen: dict[str, int] = {}
    for one in operations:
        name = one["operationId"]
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1:
            one["operationId"] = f"{name}{seen[name]}"
