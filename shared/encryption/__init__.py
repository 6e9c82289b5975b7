"""Encryption: envelope encryption under data keys and key-encryption keys, and crypto-shredding of a subject's key."""

from .cipher import TEXT_PREFIX, DataKey, decrypt, encrypt, encrypt_text, encrypted_bytes, is_encrypted_text, key_id_of
from .data_keys import DataKeys
from .errors import (
    Erased,
    KeysUnavailable,
    ProtectionError,
    Tampered,
    TooLong,
    Truncated,
    UnknownKey,
    WrongVersion,
)
from .key_rows import KeyTable, Rewrapping
from .messages import MessageEncryption
from .streams import StreamDecryptor, StreamEncryptor, stream_key_id, stream_size
from .subject_keys import ERASED, DataKeyWrapper, Erasure, Keyring, SubjectKeys
from .wrapping import KeySecrets, KeyWrapper, SecretWrapper, VaultWrapper

__all__ = [
    "ERASED",
    "TEXT_PREFIX",
    "DataKey",
    "DataKeyWrapper",
    "DataKeys",
    "Erased",
    "Erasure",
    "KeySecrets",
    "KeyTable",
    "KeyWrapper",
    "Keyring",
    "KeysUnavailable",
    "MessageEncryption",
    "ProtectionError",
    "Rewrapping",
    "SecretWrapper",
    "StreamDecryptor",
    "StreamEncryptor",
    "SubjectKeys",
    "Tampered",
    "TooLong",
    "Truncated",
    "UnknownKey",
    "VaultWrapper",
    "WrongVersion",
    "decrypt",
    "encrypt",
    "encrypt_text",
    "encrypted_bytes",
    "is_encrypted_text",
    "key_id_of",
    "stream_key_id",
    "stream_size",
]
