"""The one error of the vault: a status, and what the service writes into the body."""

from __future__ import annotations

from typing import Any

__all__ = ["VaultError", "bad_parameter"]


class VaultError(Exception):
    """A request that is answered with an error; it never holds a value."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        inner: str | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.inner = inner
        self.headers = headers

    def body(self) -> dict[str, Any]:
        """The error as the service writes it."""
        error: dict[str, Any] = {"code": self.code, "message": str(self)}
        if self.inner is not None:
            error["innererror"] = {"code": self.inner}
        return {"error": error}


def bad_parameter(message: str) -> VaultError:
    """Something in the request is not as it must be."""
    return VaultError(400, "BadParameter", message)
