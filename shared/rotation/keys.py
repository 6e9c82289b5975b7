"""Stock ways to make the next value of a secret."""

import secrets
from collections.abc import Awaitable, Callable

from shared.secrets import Secret

__all__ = ["Renew", "random_key"]

Renew = Callable[[Secret], Awaitable[str]]
"""Makes the next value, given the current version."""


def random_key(size: int = 32) -> Renew:
    """A symmetric key at random, for signing (HMAC) or as a shared secret: `size` bytes as URL-safe text.

    Raises
    ------
    ValueError
        Fewer than 16 bytes could be guessed.
    """
    if isinstance(size, bool) or not 16 <= size <= 1_024:
        raise ValueError(f"size is {size!r}, must be 16 to 1024 bytes")

    async def renew(current: Secret) -> str:
        return secrets.token_urlsafe(size)

    return renew
