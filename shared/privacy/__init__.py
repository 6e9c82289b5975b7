"""Privacy: how protected fields are stored, what a reader sees of them, and the proof of an erasure."""

from .fields import AssociatedData, EncryptedModel, FieldProtection, clear_text, require_clear, token_name
from .masking import access_level_of, masked
from .survey import StoreSurvey, encrypted_key_ids, survey

__all__ = [
    "AssociatedData",
    "EncryptedModel",
    "FieldProtection",
    "StoreSurvey",
    "access_level_of",
    "clear_text",
    "encrypted_key_ids",
    "masked",
    "require_clear",
    "survey",
    "token_name",
]
