"""Who may do what over HTTP: one table from method and path to roles."""

from shared.authentication import Role

__all__ = ["ANONYMOUS", "roles_for"]

ANONYMOUS = frozenset({"/api/health", "/api/health/ready", "/api/openapi.json", "/api/docs"})
"""What everybody may read: whether the app lives, and what it takes."""

_PRODUCERS = frozenset({Role.PRODUCER})
_READERS = frozenset({Role.READER, Role.OPERATOR})
_ANY = frozenset(Role)
_OPERATIONS = "/api/operations/"


def roles_for(method: str, path: str) -> frozenset[Role] | None:
    """The roles of which a caller needs one; None where nobody has to say who they are.

    Example
    -------
    >>> sorted(roles_for("POST", "/api/orders") or ())
    [<Role.PRODUCER: 'producer'>]
    """
    if path in ANONYMOUS:
        return None
    if path.startswith(_OPERATIONS):
        return _ANY  # a producer sees its own: what the operation's id says decides
    return _READERS if method in ("GET", "HEAD") else _PRODUCERS
