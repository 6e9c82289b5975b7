"""Where a database is: by TLS with the server's certificate checked, unless it is on this machine."""

from dataclasses import dataclass, field
from typing import Self
from urllib.parse import parse_qs, unquote, urlsplit

from .errors import UnfitSource

__all__ = ["ServerAddress"]

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_PORT = 5432


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAddress:
    """A database on a server.

    Attributes
    ----------
    host:
        A name, or the folder of a Unix socket.
    password:
        None where the app's identity or a secret of the vault stands for it.
    """

    host: str
    port: int
    database: str
    user: str
    password: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, url: str) -> Self:
        """From `postgresql://user@host:5432/database`; a Unix socket's folder is given by `?host=/folder`.

        Raises
        ------
        UnfitSource
            It isn't that, or it has a password for another machine: that belongs into the vault.
        """
        try:
            parts = urlsplit(url)
            port = parts.port or _PORT
            query = parse_qs(parts.query, strict_parsing=bool(parts.query))
        except ValueError as error:
            raise UnfitSource(f"the address of a database is wrong: {error}") from None
        host = parts.hostname or query.pop("host", [""])[0]
        database = unquote(parts.path.removeprefix("/"))
        user = unquote(parts.username or "")
        if parts.scheme not in ("postgresql", "postgres") or not host or not database or not user or query:
            raise UnfitSource("the address of a database must be postgresql://user@host:5432/database")
        found = cls(host=host, port=port, database=database, user=user, password=_password(parts.password))
        if found.password is not None and not found.local:
            raise UnfitSource(f"{host}: keep the password in the vault, not in the address")
        return found

    @property
    def local(self) -> bool:
        """Whether it is on this machine, where there is nobody in between."""
        return self.host in _LOOPBACK or self.host.startswith("/")


def _password(text: str | None) -> str | None:
    return None if text is None else unquote(text)
