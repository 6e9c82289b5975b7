"""Protection of data: sealing, the keys for it, tokens, erasure."""

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
from .key_vault import VaultWrapper
from .keyring import Keyring
from .messages import MessageSealer
from .nesting import DataKeyWrapper
from .rewrapping import PassLease, Rewrapped, Rewrapping
from .rows import KeyRow, KeyRows, KeyTable, MemoryKeyRows
from .sealing import MAX_MESSAGES, DataKey, is_sealed_text, key_id_of, seal, seal_text, unseal, unseal_text
from .streams import StreamOpener, StreamSealer, stream_key_id, stream_size
from .subject_keys import Erasure, SubjectKeys
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
    "ProtectionError",
    "Rewrapped",
    "Rewrapping",
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
    "is_sealed_text",
    "key_id_of",
    "seal",
    "seal_text",
    "stream_key_id",
    "stream_size",
    "unseal",
    "unseal_text",
]
