"""What the routes of subscriptions say of themselves in the API's description."""

import re
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from shared.subscriptions import DeliveryStatus
from shared.subscriptions.subscription import LONGEST_TEXT, MOST_PATHS, MOST_VALUES, PATH

from .schemas import ANSWERS, Named, reference
from .subscription_models import (
    ApiKeyAuthentication,
    ChangedSubscription,
    MutualTlsAuthentication,
    OAuth2Authentication,
)

__all__ = ["subscription_docs"]

_CORRELATION = {"X-Correlation-ID": reference("headers", "CorrelationId")}
_ERRORS = {
    403: "Forbidden",
    404: "NotFound",
    412: "PreconditionFailed",
    413: "PayloadTooLarge",
    415: "UnsupportedMediaType",
    500: "InternalError",
}
_TEXT, _TIME, _COUNT = {"type": "string"}, {"type": "string", "format": "date-time"}, {"type": "integer", "minimum": 0}
_MAYBE_TIME = {"type": ["string", "null"], "format": "date-time"}


_SCALARS = ["string", "number", "boolean", "null"]
_SCALAR = {"type": _SCALARS, "maxLength": LONGEST_TEXT}
_COMPARED = {"type": ["string", "number"], "maxLength": LONGEST_TEXT}
_OPERATORS: dict[str, dict[str, Any]] = {
    "eq": _SCALAR,
    "ne": _SCALAR,
    "in": {"type": "array", "minItems": 1, "maxItems": MOST_VALUES, "items": _SCALAR},
    **dict.fromkeys(("gt", "ge", "lt", "le"), _COMPARED),
    "exists": {"type": "boolean"},
}


def _filter(name: str, operators: dict[str, dict[str, Any]], means: str, of_value: str, most: int) -> dict[str, Any]:
    wanted = {
        **_SCALAR,
        "type": [*_SCALARS, "object"],
        "description": of_value,
        "minProperties": 1,
        "additionalProperties": False,
        "properties": operators,
    }
    return {
        "type": "object",
        "description": means,
        "maxProperties": most,
        "propertyNames": {"pattern": f"^({PATH.pattern})$"},
        "additionalProperties": Named(name, wanted),
    }


def _or_null(one: dict[str, Any]) -> dict[str, Any]:
    kinds = [one["type"]] if isinstance(one["type"], str) else one["type"]
    return one if "null" in kinds else {**one, "type": [*kinds, "null"]}


_FILTER = _filter(
    "FilterValue",
    _OPERATORS,
    "By path into the event's data what must be there.",
    "A value that must be there, or operators that must all hold.",
    MOST_PATHS,
)
_FILTER_CHANGE = _filter(
    "FilterChange",
    {name: _or_null(one) for name, one in _OPERATORS.items()},
    "What changes of the filter, path by path (RFC 7396): what isn't named stays.",
    "A value, or operators beside those that are there; null takes the path, or the operator, out of the filter.",
    2 * MOST_PATHS,
)


def _object(properties: dict[str, Any], *, optional: tuple[str, ...] = ()) -> dict[str, Any]:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "required": required, "properties": properties}


_SUBSCRIPTION = Named(
    "Subscription",
    _object(
        {
            "id": _TEXT,
            "url": _TEXT,
            "eventTypes": {"type": "array", "items": _TEXT},
            "filter": {"type": "object"},
            "description": _TEXT,
            "ordered": {"type": "boolean"},
            "mode": _TEXT,
            "payloadFormat": _TEXT,
            "rate": {"type": ["number", "null"]},
            "concurrency": _COUNT,
            "authentication": {
                "type": ["object", "null"],
                "description": "What the receiver sees beside the signature, without what proves it.",
            },
            "status": {"type": "string", "enum": ["enabled", "disabled"]},
            "reason": {"type": ["string", "null"], "description": "Why it is disabled."},
            "failingSince": _MAYBE_TIME,
            "createdAt": _TIME,
            "changedAt": _TIME,
            "secret": {"type": "string", "description": "Only where it is new."},
        },
        optional=("secret",),
    ),
)
_TRY = Named(
    "WebhookAttempt",
    _object(
        {
            "at": _TIME,
            "status": {"type": ["integer", "null"]},
            "seconds": {"type": "number"},
            "answer": {"type": ["string", "null"], "description": "Its first characters."},
            "problem": _TEXT,
        }
    ),
)
_DELIVERY = Named(
    "WebhookDelivery",
    _object(
        {
            "id": _TEXT,
            "messageId": {"type": "string", "description": "`webhook-id`"},
            "eventId": _TEXT,
            "eventType": _TEXT,
            "status": {"type": "string", "enum": list(DeliveryStatus)},
            "createdAt": _TIME,
            "nextAt": _MAYBE_TIME,
            "attempts": _COUNT,
            "tries": {"type": "array", "items": _TRY},
        }
    ),
)


_CONFLICT = {
    "description": "Not as it is now: it is disabled, being sent, or one too many.",
    "headers": _CORRELATION,
    "content": {"application/json": {"schema": reference("schemas", "Error")}},
}


def _refusal(status: int) -> dict[str, Any]:
    name = _ERRORS[status]
    return {**reference("responses", name), "description": ANSWERS[name]["description"]}


def _page(of: Named) -> Named:
    properties = {"value": {"type": "array", "items": of}, "count": _COUNT, "nextLink": _TEXT}
    return Named(f"{of.name}Page", _object(properties, optional=("nextLink",)))


_REPLAYED = Named("Replayed", _object({"replayed": _COUNT, "more": {"type": "boolean"}}))
_SUBSCRIPTIONS, _DELIVERIES = _page(_SUBSCRIPTION), _page(_DELIVERY)
_CALLS: dict[str, tuple[str, str, int, Any, tuple[int, ...]]] = {
    "create": ("createSubscription", "Subscribe to events", 201, _SUBSCRIPTION, (403, 409, 413, 415)),
    "owned": ("listSubscriptions", "One's own subscriptions", 200, _SUBSCRIPTIONS, ()),
    "show": ("getSubscription", "One subscription", 200, _SUBSCRIPTION, (404,)),
    "change": ("changeSubscription", "Change a subscription", 200, _SUBSCRIPTION, (403, 404, 412, 413, 415)),
    "delete": ("deleteSubscription", "Delete a subscription", 204, None, (404, 412)),
    "rotate": ("rotateSubscriptionSecret", "Have a new secret", 200, _SUBSCRIPTION, (404, 412)),
    "test": ("testSubscription", "Send a test event", 202, _DELIVERY, (404, 409)),
    "replay": ("replaySubscription", "Send again what was missed", 202, _REPLAYED, (404, 409, 413, 415)),
    "list_deliveries": ("listDeliveries", "The newest deliveries", 200, _DELIVERIES, (404,)),
    "show_delivery": ("getDelivery", "One delivery", 200, _DELIVERY, (404,)),
    "resend": ("resendDelivery", "Send a delivery again", 202, _DELIVERY, (404, 409)),
    "payload": ("getDeliveryPayload", "The data of a delivery", 200, {}, (404, 500)),
}


def subscription_docs(
    call: str, model: type[BaseModel] | None, *, most: int, event_types: Sequence[str]
) -> dict[str, Any]:
    """What an endpoint takes and answers, by the name of its call.

    Parameters
    ----------
    most:
        Deliveries of a page.
    event_types:
        Those that can be subscribed to.
    """
    name, summary, status, answer, errors = _CALLS[call]
    done: dict[str, Any] = {"description": "Done.", "headers": _CORRELATION}
    if answer is not None:
        done["content"] = {"application/json": {"schema": answer}}
    refusals = {str(code): _CONFLICT if code == 409 else _refusal(code) for code in errors}
    docs: dict[str, Any] = {
        "operationId": name,
        "summary": summary,
        "tags": ["subscriptions"],
        "responses": {str(status): done, **refusals},
    }
    if model is not None:
        body = Named(model.__name__, _asked(model, event_types))
        docs["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    if call == "list_deliveries":
        statuses = {"type": "string", "enum": list(DeliveryStatus)}
        size = {"type": "integer", "minimum": 1, "maximum": most, "default": 50}
        after = {"type": "string", "pattern": "^[0-9a-f-]{1,64}$"}
        docs["parameters"] = [
            {"name": "status", "in": "query", "required": False, "schema": statuses},
            {"name": "top", "in": "query", "required": False, "schema": size},
            {"name": "after", "in": "query", "required": False, "schema": after},
        ]
    if call in ("change", "delete", "rotate"):
        docs["parameters"] = [{"name": "If-Match", "in": "header", "required": False, "schema": _TEXT}]
    return docs


def _asked(model: type[BaseModel], event_types: Sequence[str]) -> dict[str, Any]:
    """A body's schema, without the defaults: of a change they mean nothing."""
    schema = model.model_json_schema(by_alias=True)
    defined = schema.get("$defs", {})
    properties: dict[str, Any] = {}
    authenticates = schema["properties"].pop("authentication", None) is not None
    for name, one in schema["properties"].items():
        of = defined.get(str(one.get("$ref", "")).rpartition("/")[2])
        properties[name] = {"type": "string", "enum": of["enum"]} if of else dict(one)
        if "anyOf" in one:  # a number, or null
            number, null = properties[name].pop("anyOf")
            properties[name] |= {**number, "type": [number["type"], null["type"]]}
        for word in ("title", "default"):
            properties[name].pop(word, None)
    if authenticates:
        properties["authentication"] = {"anyOf": [*_AUTHENTICATIONS, {"type": "null"}]}
    if "eventTypes" in properties:
        properties["eventTypes"]["items"] = {"type": "string", "pattern": _pattern(event_types)}
        properties["filter"] = _FILTER_CHANGE if model is ChangedSubscription else _FILTER
    return {
        "type": "object",
        "additionalProperties": False,
        "required": schema.get("required", []),
        "properties": properties,
    }


def _authentication(model: type[BaseModel]) -> dict[str, Any]:
    """One of the ways in which a receiver is shown who sends; `type` tells which."""
    schema = model.model_json_schema(by_alias=True)
    for one in schema["properties"].values():
        one.pop("title", None)
    wanted = {"type": "object", "additionalProperties": False, "description": schema["description"]}
    return {**wanted, "required": schema["required"], "properties": schema["properties"]}


_AUTHENTICATIONS = [
    Named(model.__name__, _authentication(model))
    for model in (ApiKeyAuthentication, OAuth2Authentication, MutualTlsAuthentication)
]


def _pattern(event_types: Sequence[str]) -> str:
    prefixes = {name[: place + 1] for name in event_types for place, one in enumerate(name) if one == "."}
    names = [re.escape(name) for name in event_types] + [re.escape(name) + r"\*" for name in sorted(prefixes)]
    either = "|".join([r"\*", *names])
    return rf"^({either})(@[0-9]{{1,6}}\.[0-9]{{1,6}})?$"
