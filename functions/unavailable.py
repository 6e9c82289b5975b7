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
from shared.sending import NotSent
from shared.telemetry import log_event

__all__ = ["FAILURES", "NOT_READ", "failed"]

RETRY_AFTER_SECONDS = 2
NOT_READ = "This can't be read just now. Ask again."
NOT_KEPT = "The message could not be kept just now. Send it again with the same message id."
FAILURES = (SecretError, NotSent, AzureError, TimeoutError, KeysUnavailable)
"""What is raised while a secret can't be had, or broker or storage can't be reached."""


def failed(failure: Exception, message: str = NOT_KEPT, *, now: datetime, message_id: UUID | None = None) -> Response:
    """Ask again, or send it again: with the same message id, which the answer names also where it was made here."""
    match failure:
        case SecretError():
            log_event("no secret", level=logging.ERROR, secret=failure.name, reason=failure.reason)
        case NotSent():
            log_event("not sent", level=logging.WARNING, reason=str(failure))
        case _:
            log_event("storage failed", level=logging.WARNING, reason=f"{type(failure).__name__}: {failure}"[:500])
    return error(ErrorCode.UNAVAILABLE, message, now=now, message_id=message_id, retry_after=RETRY_AFTER_SECONDS)
