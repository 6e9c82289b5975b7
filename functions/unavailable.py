"""The answer to a client while something that the app needs can't be had, with a log line that says why."""

import logging
from datetime import datetime
from uuid import UUID

from azure.core.exceptions import AzureError
from starlette.responses import Response

from shared.encryption import KeysUnavailable
from shared.http import error
from shared.messages import ErrorCode
from shared.secrets import SecretError
from shared.telemetry import log_event

__all__ = ["FAILURES", "NOT_READ", "failed", "unavailable"]

RETRY_AFTER_SECONDS = 2
NOT_READ = "This can't be read just now. Ask again."
NOT_KEPT = "The message could not be kept just now. Send it again with the same message id."
FAILURES = (SecretError, AzureError, TimeoutError, KeysUnavailable)
"""What is raised while storage can't be reached, or a secret can't be had."""


def failed(failure: Exception, message: str = NOT_KEPT, *, now: datetime, message_id: UUID | None = None) -> Response:
    """After one of them."""
    if isinstance(failure, SecretError):
        log_event("no secret", level=logging.ERROR, secret=failure.name, reason=failure.reason)
    else:
        log_event("storage failed", level=logging.WARNING, reason=f"{type(failure).__name__}: {failure}"[:500])
    return unavailable(message, now=now, message_id=message_id)


def unavailable(message: str = NOT_KEPT, *, now: datetime, message_id: UUID | None = None) -> Response:
    """Ask again, or send it again: with the same message id, which the answer names also where it was made here."""
    return error(ErrorCode.UNAVAILABLE, message, now=now, message_id=message_id, retry_after=RETRY_AFTER_SECONDS)
