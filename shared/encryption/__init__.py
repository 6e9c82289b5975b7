"""Encryption: envelope encryption under data keys and key-encryption keys, and crypto-shredding of a subject's key."""

from .cipher import (
    MAX_MESSAGES,
    TEXT_PREFIX,
    DataKey,
    is_sealed_text,
    key_id_of,
    seal,
    seal_text,
    sealed_bytes,
    unseal,
    unseal_text,
)
from .data_keys import DataKeys
from .errors import (
    Erased,
    KeysUnavailable,
    NotSealed,
    ProtectionError,
    Tampered,
    TooLong,
    Truncated,
    UnknownKey,
    WrongVersion,
)
from .key_vault import VaultWrapper
from .keyring import Keyring
from .messages import MessageSealer
from .nesting import DataKeyWrapper
from .rewrapping import PassLease, Rewrapped, Rewrapping
from .rows import KeyRow, KeyRows, KeyTable, MemoryKeyRows
from .streams import StreamOpener, StreamSealer, stream_key_id, stream_size
from .subject_keys import Erasure, SubjectKeys
from .wrapping import KeySecret, KeySecrets, KeyWrapper, SecretWrapper, Wrapped

__all__ = [
    "MAX_MESSAGES",
    "TEXT_PREFIX",
    "DataKey",
    "DataKeyWrapper",
    "DataKeys",
    "Erased",
    "Erasure",
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
    "NotSealed",
    "PassLease",
    "ProtectionError",
    "Rewrapped",
    "Rewrapping",
    "SecretWrapper",
    "StreamOpener",
    "StreamSealer",
    "SubjectKeys",
    "Tampered",
    "TooLong",
    "Truncated",
    "UnknownKey",
    "VaultWrapper",
    "Wrapped",
    "WrongVersion",
    "is_sealed_text",
    "key_id_of",
    "seal",
    "seal_text",
    "sealed_bytes",
    "stream_key_id",
    "stream_size",
    "unseal",
    "unseal_text",
]
