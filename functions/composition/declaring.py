"""What a capability says of the infrastructure that it needs: resources, and calls on them with their reason."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Access", "Container", "Hub", "Key", "Need", "Queue", "Resource", "Table", "Vault"]


class Access(StrEnum):
    """What a call does to a resource; the infrastructure gives the narrowest role that lets it."""

    SEND = "send"
    RECEIVE = "receive"
    READ = "read"
    WRITE = "write"
    SECRETS = "secrets"
    SET_SECRETS = "set-secrets"
    WRAP = "wrap"


@dataclass(frozen=True, kw_only=True)
class Queue:
    """A Service Bus queue by its name or `%SETTING%`."""

    name: str
    sessions: bool = False


@dataclass(frozen=True, kw_only=True)
class Hub:
    """An event hub with the consumer groups that read it; names or `%SETTING%`."""

    name: str
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of the first state account, or of every one."""

    name: str
    every_account: bool = False


@dataclass(frozen=True, kw_only=True)
class Container:
    """A blob container by its name or `%SETTING%`, in the account for claims."""

    name: str


@dataclass(frozen=True)
class Vault:
    """The key vault's secrets."""

    name: str = ""


@dataclass(frozen=True, kw_only=True)
class Key:
    """A key of the vault by its name or `%SETTING%`."""

    name: str


Resource = Queue | Hub | Table | Container | Vault | Key


@dataclass(frozen=True, kw_only=True)
class Need:
    """A kind of call that functions or jobs make; their apps' identities are granted the role for it.

    Attributes
    ----------
    by:
        Names of functions and jobs that make the call; without any, all of the capability.
    why:
        What for: one sentence, as it stands in the grant.
    when:
        A setting that must be set for the call to be made; `NAME=start` with that beginning.
    """

    access: Access
    to: Resource
    why: str
    by: Sequence[str] = ()
    when: str = ""
