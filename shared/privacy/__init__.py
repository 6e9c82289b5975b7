"""Privacy: how protected fields are kept, what a reader sees of them, and the proof of an erasure."""

from .fields import FieldProtection, Place, Sealed, clear_text, require_clear, token_name
from .masking import clearance_of, shown
from .survey import Found, sealed_key_ids, survey

__all__ = [
    "FieldProtection",
    "Found",
    "Place",
    "Sealed",
    "clear_text",
    "clearance_of",
    "require_clear",
    "sealed_key_ids",
    "shown",
    "survey",
    "token_name",
]
