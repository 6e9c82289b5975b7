"""Confines a key to the client that used it first, where a handler is declared with `owned=True`."""

from pydantic import BaseModel

from shared.messages import ErrorCode, Headers, Reject
from shared.work import Work

__all__ = ["claim_key"]

_KIND = "$owner"


class _Owner(BaseModel):
    """The mark of the client that used a key first."""

    client: str


async def claim_key(headers: Headers, work: Work) -> None:
    """Note the key's first client, in the message's own transaction; refuse any other's message.

    What has no client (a handler sent it, or callers aren't checked) belongs to the app itself and passes.

    Raises
    ------
    Reject
        The key is another client's.
    """
    if headers.sender is None:
        return
    owner = await work.load(_KIND, headers.key, _Owner)
    if owner is None:
        await work.save(_KIND, headers.key, _Owner(client=headers.sender))
    elif owner.client != headers.sender:
        raise Reject("The key belongs to another client, which used it first.", code=ErrorCode.FORBIDDEN)
