"""The Idempotency-Key header: any bounded text, which stands for one message of one client.

Source: draft-ietf-httpapi-idempotency-key-header-07. The draft writes keys as structured strings (RFC 8941, 3.3.3);
most clients write them bare, so both are read. A bare UUID is more: the message id itself, as other answers name it.
As a structured string it is a key like any other, since the draft's keys are a client's own.
"""

import json
import re
from collections.abc import Sequence
from uuid import UUID, uuid5

from shared.messages import ErrorCode

from .bodies import BadBody

__all__ = ["LONGEST_KEY", "id_of_line", "id_under", "idempotency_key"]

LONGEST_KEY = 255
"""Characters of a key; more would only be a payload in disguise."""
_NAMESPACE = UUID("b1d3e0a2-6f0c-5d58-9a57-2f9d7f6a4c33")
"""Own namespace for ids that are derived from keys; fixed for good."""
_QUOTED = re.compile(r'"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
"""As RFC 9562 writes it, and nothing else that Python reads as one: a digest of 32 hex digits is no message id."""
_BARE = re.compile(r"[\x21\x23-\x2b\x2d-\x7e]+")
"""Without a quotation mark, and without a comma: two headers may have been joined by one."""


def idempotency_key(values: Sequence[str]) -> str | None:
    """The key of a request, from all headers of that name; None where there is none.

    A key that came as a structured string begins with its quotation mark, so that it is never taken for a message id.

    Raises
    ------
    BadBody
        There are several, or it is none.
    """
    if not values:
        return None
    text = values[0].strip(" \t") if len(values) == 1 else ""
    quoted = _QUOTED.fullmatch(text)
    key = re.sub(r'\\(["\\])', r"\1", quoted[1]) if quoted else text
    if not 1 <= len(key) <= LONGEST_KEY or not (quoted or _BARE.fullmatch(text)):
        raise BadBody(
            ErrorCode.BAD_REQUEST,
            f"Idempotency-Key: send one, of 1 to {LONGEST_KEY} visible characters, or a structured string.",
        )
    return f'"{key}' if quoted else key


def id_under(key: str, client: str, command: str) -> UUID:
    """The message id that a client's key stands for, for one command; a bare UUID is the id, whoever sends it.

    Parameters
    ----------
    command:
        Its event type; empty where the path takes any.
    """
    if _UUID.fullmatch(key):
        return UUID(key)
    return uuid5(_NAMESPACE, json.dumps([client, command, key.removeprefix('"')]))


def id_of_line(key: str, client: str, command: str, line: int) -> UUID:
    """The message id of a line of a bulk that names none: the same line under the same key is the same message.

    Lines are numbered from 1; 0 stands for the bulk itself. `command` is as for `id_under`.
    """
    return uuid5(_NAMESPACE, json.dumps([client, command, key.removeprefix('"'), line]))
