"""API keys: long random texts that clients hold, and of which the app knows only the hashes.

A key is 256 random bits, so its plain SHA-256 can't be turned back by guessing: the slow hashes that passwords need
would only cost every request their time.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from typing import Any

from .callers import GRANTED, Caller, Role, Unauthenticated

__all__ = ["ApiKeys", "api_key_entry"]

SHORTEST, LONGEST = 32, 256
"""Characters of a key that is looked at."""
MOST = 1_000
"""Keys that are compared for a request: about 0.2 ms."""
_HASH = re.compile(r"[0-9a-f]{64}")
_FIELDS = {"client", "sha256", "roles"}


class ApiKeys:
    """The keys of all clients; a client may have several, so that one is changed for another without a gap."""

    def __init__(self, callers: Mapping[bytes, Caller]) -> None:
        self._callers = tuple(callers.items())

    def __len__(self) -> int:
        return len(self._callers)

    def __repr__(self) -> str:
        return f"ApiKeys({len(self)} keys)"

    @classmethod
    def parse(cls, text: str) -> "ApiKeys":
        """Read a JSON list of `{"client": ..., "sha256": ..., "roles": [...]}`.

        Raises
        ------
        ValueError
            Says which entry is wrong and why, never with its value.
        """
        try:
            entries = json.loads(text)
        except (ValueError, RecursionError):
            raise ValueError("is not valid JSON") from None
        if not isinstance(entries, list) or len(entries) > MOST:
            raise ValueError(f"must be a JSON list of at most {MOST} entries")
        callers: dict[bytes, Caller] = {}
        for number, entry in enumerate(entries, start=1):
            try:
                digest, caller = _entry(entry)
                if digest in callers:
                    raise ValueError("sha256 is that of an entry before")
            except ValueError as wrong:
                raise ValueError(f"entry {number}: {wrong}") from None
            callers[digest] = caller
        return cls(callers)

    def caller(self, key: str) -> Caller:
        """Who holds a key. Every known key is compared in constant time, whichever it is.

        Raises
        ------
        Unauthenticated
            Nobody does.
        """
        if not SHORTEST <= len(key) <= LONGEST:
            raise Unauthenticated("The API key isn't known.")
        digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
        found: Caller | None = None
        for known, caller in self._callers:
            if hmac.compare_digest(known, digest):
                found = caller
        if found is None:
            raise Unauthenticated("The API key isn't known.")
        return found


def _entry(entry: Any) -> tuple[bytes, Caller]:
    if not isinstance(entry, dict) or entry.keys() != _FIELDS:
        raise ValueError("must be an object with client, sha256 and roles, and nothing else")
    client, digest, roles = entry["client"], entry["sha256"], entry["roles"]
    if not isinstance(client, str) or not 1 <= len(client) <= 128 or not client.isprintable():
        raise ValueError("client must be a text of 1 to 128 printable characters")
    if not isinstance(digest, str) or _HASH.fullmatch(digest) is None:
        raise ValueError("sha256 must be 64 hexadecimal digits in lower case")
    known = set(GRANTED)
    if not isinstance(roles, list) or not roles or not all(isinstance(role, str) and role in known for role in roles):
        raise ValueError(f"roles must be a list of {', '.join(GRANTED)}")
    return bytes.fromhex(digest), Caller(client, frozenset(Role(role) for role in roles))


def api_key_entry(client: str, key: str, roles: list[str]) -> str:
    """The JSON entry of a new key.

    Raises
    ------
    ValueError
        Says what is wrong with client, key or roles.
    """
    if not SHORTEST <= len(key) <= LONGEST:
        raise ValueError(f"a key has {SHORTEST} to {LONGEST} characters")
    digest = hashlib.sha256(key.encode()).hexdigest()
    entry = {"client": client, "sha256": digest, "roles": roles}
    _entry(entry)
    return json.dumps(entry, ensure_ascii=False)
