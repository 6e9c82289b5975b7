"""What tokens stand for: a sealed row for each token that was to be remembered, opened for some roles only."""

from collections.abc import Collection

from .errors import NotAllowed
from .keyring import Keyring
from .rows import KeyRow, KeyRows
from .sealing import DataKey, seal
from .stored import infrastructure

__all__ = ["TokenVault"]

_SECONDS = 10.0


class TokenVault:
    """Remembers and reveals. A row is sealed under the key it is given: a subject's, where an erasure shall reach it.

    Parameters
    ----------
    roles:
        Who may see what a token stands for.
    """

    def __init__(self, rows: KeyRows, keyring: Keyring, *, roles: Collection[str] = ("operator",)) -> None:
        self._rows = rows
        self._keyring = keyring
        self._roles = frozenset(roles)

    async def remember(self, kind: str, token: str, value: str, *, key: DataKey) -> None:
        """Return when it is known what a token stands for; a row that is there already is left unless it is erased.

        Raises
        ------
        KeysUnavailable
        """
        sealed = seal(key, value.encode("utf-8", "surrogatepass"), aad=_place(kind, token))
        async with infrastructure("the token can't be remembered now", _SECONDS):
            row = KeyRow(token, kind, {"sealed": sealed, "sealedBy": key.id})
            if await self._rows.create(row):
                return
            known = await self._rows.get(token, kind)
            if known is not None and known.columns["sealedBy"] != key.id:
                await self._rows.replace(KeyRow(token, kind, row.columns, known.etag))

    async def reveal(self, kind: str, token: str, *, roles: Collection[str]) -> str | None:
        """What a token of a kind stands for, or None where nobody remembered it.

        Raises
        ------
        NotAllowed
            None of the caller's roles may see it; whether there is such a token isn't told.
        ProtectionError
            It can't be opened; Erased where its subject was erased.
        KeysUnavailable
        """
        if not self._roles & frozenset(roles):
            raise NotAllowed(f"What a token stands for is told to {', '.join(sorted(self._roles))} only.")
        async with infrastructure("the token can't be looked up now", _SECONDS):
            row = await self._rows.get(token, kind)
        if row is None:
            return None
        opened = await self._keyring.open(bytes(row.columns["sealed"]), aad=_place(kind, token))
        return opened.decode("utf-8", "surrogatepass")


def _place(kind: str, token: str) -> bytes:
    return f"token\0{kind}\0{token}".encode()
