"""What Event Grid answers to a request that it refuses."""

from __future__ import annotations

from typing import Any

__all__ = ["EventGridError"]


class EventGridError(Exception):
    """A refusal: the HTTP status, and the service's own code and text.

    Parameters
    ----------
    status:
        Of the answer: 400, 401, 404, 409 or 413.
    code:
        For example `BadRequest`.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code

    def content(self) -> dict[str, Any]:
        """The body of the answer ("Publish events to Event Grid custom topics", learn.microsoft.com)."""
        detail = {"code": self.code, "message": str(self)}
        return {"error": {**detail, "details": [detail]}}
