"""Dead letters: what could not be processed, kept whole, with the reason."""

from .record import DeadLetter, stack_fingerprint
from .store import DeadLetterStore

__all__ = ["DeadLetter", "DeadLetterStore", "stack_fingerprint"]
