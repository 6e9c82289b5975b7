"""Privacy: how protected fields are kept, what a reader sees of them, and the proof of an erasure."""

from .fields import AssociatedData, EncryptedModel, FieldProtection, clear_text, require_clear, token_name
from .masking import access_level_of, shown
from .survey import Found, encrypted_key_ids, survey

__all__ = [
    "AssociatedData",
    "EncryptedModel",
    "FieldProtection",
    "Found",
    "access_level_of",
    "clear_text",
    "encrypted_key_ids",
    "require_clear",
    "shown",
    "survey",
    "token_name",
]
