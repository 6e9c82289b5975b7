"""Protection of data: sealing, the keys for it, tokens, erasure."""

from .clearance import clearance_of, shown
from .data_keys import DataKeys
from .errors import (
    Erased,
    KeysUnavailable,
    NotAllowed,
    NotSealed,
    ProtectionError,
    Tampered,
    TooLong,
    Truncated,
    UnknownKey,
    WrongVersion,
)
from .fields import FieldProtection, Place, Sealed, clear_text, require_clear, token_name
from .key_vault import VaultWrapper
from .keyring import Keyring
from .messages import MessageSealer
from .nesting import DataKeyWrapper
from .rewrapping import PassLease, Rewrapped, Rewrapping
from .rows import KeyRow, KeyRows, KeyTable, MemoryKeyRows
from .sealing import MAX_MESSAGES, DataKey, is_sealed_text, key_id_of, seal, seal_text, unseal, unseal_text
from .streams import StreamOpener, StreamSealer, stream_key_id, stream_size
from .subject_keys import Erasure, SubjectKeys
from .survey import Found, sealed_key_ids, survey
from .token_vault import TokenVault
from .tokens import TokenKeys, Tokens
from .wrapping import KeySecret, KeySecrets, KeyWrapper, SecretWrapper, Wrapped

__all__ = [
    "MAX_MESSAGES",
    "DataKey",
    "DataKeyWrapper",
    "DataKeys",
    "Erased",
    "Erasure",
    "FieldProtection",
    "Found",
    "KeyRow",
    "KeyRows",
    "KeySecret",
    "KeySecrets",
    "KeyTable",
    "KeyWrapper",
    "Keyring",
    "KeysUnavailable",
    "MemoryKeyRows",
    "MessageSealer",
    "NotAllowed",
    "NotSealed",
    "PassLease",
    "Place",
    "ProtectionError",
    "Rewrapped",
    "Rewrapping",
    "Sealed",
    "SecretWrapper",
    "StreamOpener",
    "StreamSealer",
    "SubjectKeys",
    "Tampered",
    "TokenKeys",
    "TokenVault",
    "Tokens",
    "TooLong",
    "Truncated",
    "UnknownKey",
    "VaultWrapper",
    "Wrapped",
    "WrongVersion",
    "clear_text",
    "clearance_of",
    "is_sealed_text",
    "key_id_of",
    "require_clear",
    "seal",
    "seal_text",
    "sealed_key_ids",
    "shown",
    "stream_key_id",
    "stream_size",
    "survey",
    "token_name",
    "unseal",
    "unseal_text",
]
