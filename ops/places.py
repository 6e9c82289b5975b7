"""A place in a store: what it holds, and how a person is taken out of it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from shared.privacy import AssociatedData

__all__ = ["Forget", "Place"]

Forget = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Place:
    """Something that is stored.

    Attributes
    ----------
    text:
        All of it, decrypted but for single fields; None where that can't be had.
    content:
        The part of it that is somebody's, where that isn't all.
    bound_to:
        What the encrypted fields of the content may be bound to, besides the event that they stand in.
    forget:
        Takes the person out of it, or deletes it; None where nothing can be changed. A place that changes at the same
        time is left as it is, and found again.
    """

    name: str
    text: str | None
    forget: Forget | None
    content: str | None = None
    bound_to: tuple[AssociatedData, ...] = ()
