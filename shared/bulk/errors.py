"""What goes wrong with a bulk as a whole."""

from shared.messages import ErrorCode

__all__ = ["CannotGoOn"]


class CannotGoOn(Exception):
    """Nothing more of a bulk is read; what was accepted of it before stays accepted.

    Parameters
    ----------
    retry_after:
        Seconds after which the rest may be sent again; None where it would be refused again.
    """

    def __init__(self, code: ErrorCode, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retry_after = retry_after
