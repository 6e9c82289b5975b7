"""Names of span attributes: OpenTelemetry's semantic conventions as of 1.44, and ours under `sluice.`; nowhere else.

The conventions of messaging are in development: they are pinned here, and a test compares them with the published
package. `OTEL_SEMCONV_STABILITY_OPT_IN` is read as every instrumentation reads it: with `messaging` in its list a span
has the present names alone; with `messaging/dup`, or nothing, also the one of before 1.26.
"""

import os
from collections.abc import Mapping
from typing import Any, Final

__all__ = ["Name", "messaging"]


class Name:
    """Attributes."""

    SYSTEM: Final = "messaging.system"
    OPERATION_NAME: Final = "messaging.operation.name"
    OPERATION_TYPE: Final = "messaging.operation.type"
    DESTINATION: Final = "messaging.destination.name"
    CONSUMER_GROUP: Final = "messaging.consumer.group.name"
    MESSAGE_ID: Final = "messaging.message.id"
    CONVERSATION_ID: Final = "messaging.message.conversation_id"
    BODY_SIZE: Final = "messaging.message.body.size"
    BATCH_COUNT: Final = "messaging.batch.message_count"
    DELIVERY_COUNT: Final = "messaging.servicebus.message.delivery_count"
    ERROR_TYPE: Final = "error.type"
    HTTP_METHOD: Final = "http.request.method"
    HTTP_STATUS: Final = "http.response.status_code"
    URL_PATH: Final = "url.path"

    CORRELATION: Final = "correlation.id"
    KEY: Final = "sluice.key"
    EVENT_TYPE: Final = "sluice.event_type"
    VERSION: Final = "sluice.version"
    INTEGRATION: Final = "sluice.integration"
    ATTEMPT: Final = "sluice.attempt"
    REPLAY: Final = "sluice.replay"
    OUTCOME: Final = "sluice.outcome"
    CATEGORY: Final = "sluice.category"
    CODE: Final = "sluice.code"
    RETRY_SECONDS: Final = "sluice.retry.seconds"
    ACCEPTED_AT: Final = "sluice.accepted_at"
    CLAIM_SIZE: Final = "sluice.claim.size"
    BUCKET: Final = "sluice.bucket"
    OPERATIONS: Final = "sluice.operations"
    ROWS: Final = "sluice.rows"
    EVENTS: Final = "sluice.events"
    JOB_DUE: Final = "sluice.job.due"


_BEFORE: Final = "messaging.operation"
_OLD_TYPES: Final = {"send": "publish", "create": "create", "receive": "receive", "process": "process"}


def writes_old() -> bool:
    """Whether spans have the names of before 1.26 as well."""
    chosen = {one.strip() for one in os.environ.get("OTEL_SEMCONV_STABILITY_OPT_IN", "").split(",")}
    return "messaging" not in chosen or "messaging/dup" in chosen


_OLD = writes_old()


def messaging(operation: str, destination: str, *, system: str = "servicebus", **more: Any) -> dict[str, Any]:
    """The attributes of a span about messages.

    Parameters
    ----------
    operation:
        Its name and type: send, receive or process.
    destination:
        The lane, or the hub.
    more:
        Further ones by their name in `Name`; None is left out.
    """
    made: dict[str, Any] = {
        Name.SYSTEM: system,
        Name.OPERATION_NAME: operation,
        Name.OPERATION_TYPE: operation,
        Name.DESTINATION: destination,
    }
    if _OLD:
        made[_BEFORE] = _OLD_TYPES[operation]
    for name, value in more.items():
        if value is not None:
            made[getattr(Name, name)] = value
    return made


def pinned() -> Mapping[str, str]:
    """Every name of the published conventions that is used, by ours."""
    known = ("messaging.", "error.", "http.", "url.")
    return {name: value for name, value in vars(Name).items() if str(value).startswith(known)} | {"BEFORE": _BEFORE}
