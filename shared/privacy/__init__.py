"""Privacy: how protected fields are stored, what a reader sees of them, and the proof of an erasure."""

from .clear import ClearText, in_clear
from .fields import AssociatedData, EncryptedModel, FieldProtection, clear_text, token_name
from .forgetting import Person, StoreSurvey, encrypted_key_ids, survey
from .masking import MaskedRow, access_level_of, masked

__all__ = [
    "AssociatedData",
    "ClearText",
    "EncryptedModel",
    "FieldProtection",
    "MaskedRow",
    "Person",
    "StoreSurvey",
    "access_level_of",
    "clear_text",
    "encrypted_key_ids",
    "in_clear",
    "masked",
    "survey",
    "token_name",
]
