"""Events that Event Grid couldn't deliver: brought where they belong after all, or recorded as dead letters."""

from .blob import Undelivered, read_blob
from .drain import SOURCE, UndeliveredDrain

__all__ = ["SOURCE", "Undelivered", "UndeliveredDrain", "read_blob"]
