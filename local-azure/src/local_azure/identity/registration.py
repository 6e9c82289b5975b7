"""What an issuer is registered as: its tenant, its clients' secret, the managed identity. Kept for its owner only."""

from __future__ import annotations

import json
import os
import secrets
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path

__all__ = ["Registration", "RegistrationError", "keep", "open_registration", "read_registration"]

_FILE = "registration.json"


class RegistrationError(Exception):
    """The folder of an issuer cannot be read; the message says why."""


@dataclass(frozen=True, slots=True)
class Registration:
    """Made at random when a folder is first used.

    Attributes
    ----------
    tenant
        The tenant's id, a UUID.
    client_id
        The user-assigned managed identity, a UUID.
    client_secret
        Opens the token endpoint for every client name.
    identity_header
        What the managed identity endpoint asks for.
    """

    tenant: str
    client_id: str
    client_secret: str = field(repr=False)
    identity_header: str = field(repr=False)


def read_registration(folder: Path) -> Registration:
    """The registration that an issuer keeps in `folder`.

    Raises
    ------
    RegistrationError
        If there is none, or it cannot be read.
    """
    path = folder / _FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        found = Registration(**content)
        uuid.UUID(found.tenant)
    except FileNotFoundError:
        raise RegistrationError(f"{path} does not exist: no issuer has run there.") from None
    except (OSError, ValueError, TypeError, AttributeError):
        raise RegistrationError(f"{path} cannot be read as an issuer's registration: remove it.") from None
    return found


def open_registration(folder: Path) -> Registration:
    """The registration in `folder`, made if there is none.

    Raises
    ------
    RegistrationError
        If what is there cannot be read.
    OSError
        If the folder cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / _FILE).exists():
        return read_registration(folder)
    made = Registration(
        tenant=str(uuid.uuid4()),
        client_id=str(uuid.uuid4()),
        client_secret=secrets.token_urlsafe(32),
        identity_header=secrets.token_urlsafe(32),
    )
    keep(folder / _FILE, json.dumps(asdict(made), indent=1))
    return made


def keep(path: Path, text: str) -> None:
    """Replace a file in one step; only its owner may read it."""
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as sink:
        sink.write(text)
        sink.flush()
        os.fsync(sink.fileno())
    os.replace(partial, path)
