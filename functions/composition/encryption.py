"""Encryption: data keys, subjects' keys and tokens, and what encrypts messages and fields with them."""

from functions.triggers import AppName
from shared.encryption import (
    DataKeys,
    DataKeyWrapper,
    KeyTable,
    KeyWrapper,
    MessageEncryption,
    Rewrapping,
    SecretWrapper,
    SubjectKeys,
    VaultWrapper,
)
from shared.encryption.settings import EncryptionSettings
from shared.jobs import Job, JobRun, parse_schedule
from shared.messages import Lane
from shared.privacy import FieldProtection
from shared.telemetry import Metrics, log_event
from shared.tokenization import TokenKeys
from shared.tokenization.settings import TokenizationSettings

from .capability import Capability
from .composition import Composition
from .declaring import Access, Key, Need, Table
from .platform import platform
from .secrets import secret_cache

__all__ = [
    "KEY_NEEDS",
    "SUBJECT_KEYS",
    "TOKENS_TABLE",
    "capability",
    "data_keys",
    "fields",
    "fresh_subject_keys",
    "message_encryption",
    "rewrapping",
    "subject_keys",
    "token_keys",
    "wrapper",
]

DATA_KEYS_TABLE = "datakeys"
SUBJECT_KEYS = Table(name="subjectkeys")
TOKENS_TABLE = "tokens"
KEY_NEEDS = (
    Need(
        access=Access.WRITE,
        to=Table(name=DATA_KEYS_TABLE),
        why="Finds, and makes, the keys that messages, claims and dead letters are encrypted under.",
        when="SLUICE_DATA_KEY",
    ),
    Need(
        access=Access.WRAP,
        to=Key(name="%SLUICE_DATA_KEY%"),
        why="Wraps and unwraps data keys; the key itself never leaves the vault.",
        when="SLUICE_DATA_KEY=key:",
    ),
)
"""Of every capability that encrypts or decrypts."""
_REWRAP_SCHEDULE = "0 43 * * * *"


def wrapper(composition: Composition) -> KeyWrapper:
    """What wraps data keys: a key of the vault, or a secret of it."""
    settings = composition.settings
    kind, _, name = (settings.data_key or "").partition(":")
    if kind == "secret":
        return SecretWrapper(composition.get(secret_cache), name)
    vault = settings.key_vault
    return composition.closing(
        VaultWrapper(vault.vaults[0] if vault else "", name, composition.get(platform).vault_credential)
    )


def data_key_rows(composition: Composition) -> KeyTable:
    """The table of data keys."""
    return _rows(composition, DATA_KEYS_TABLE)


def subject_key_rows(composition: Composition) -> KeyTable:
    """The table of subjects' keys."""
    return _rows(composition, SUBJECT_KEYS.name)


def _rows(composition: Composition, name: str) -> KeyTable:
    return composition.closing(KeyTable(composition.get(platform).table(name)))


def data_keys(composition: Composition) -> DataKeys | None:
    """The keys that data is encrypted under; None where SLUICE_DATA_KEY isn't set."""
    if composition.settings.data_key is None:
        return None
    return DataKeys(composition.get(data_key_rows), composition.get(wrapper), now=composition.now)


def subject_keys(composition: Composition) -> SubjectKeys | None:
    """A key for each subject; None where SLUICE_DATA_KEY isn't set."""
    return fresh_subject_keys(composition)


def fresh_subject_keys(composition: Composition) -> SubjectKeys | None:
    """Subjects' keys as an instance sees them that has just started."""
    keys = composition.get(data_keys)
    if keys is None:
        return None
    return SubjectKeys(composition.get(subject_key_rows), DataKeyWrapper(keys), now=composition.now)


def token_keys(composition: Composition) -> TokenKeys | None:
    """What tokens are made with; None where SLUICE_TOKEN_KEY isn't set."""
    current, *earlier = composition.settings.token_keys or ("",)
    return TokenKeys(composition.get(secret_cache), current, earlier=earlier) if current else None


def message_encryption(composition: Composition) -> MessageEncryption | None:
    """Encrypts whole messages, and bodies of dead letters; None where SLUICE_DATA_KEY isn't set."""
    keys = composition.get(data_keys)
    if keys is None:
        return None
    lanes = [Lane(name) for name in composition.settings.encrypted_lanes]
    return MessageEncryption(keys, lanes, required=composition.settings.encryption_required)


def fields(composition: Composition) -> FieldProtection | None:
    """Encrypts protected fields; None where SLUICE_DATA_KEY isn't set."""
    keys, subjects = composition.get(data_keys), composition.get(subject_keys)
    if keys is None or subjects is None:
        return None
    return FieldProtection(keys, subjects, composition.get(token_keys))


def rewrapping(composition: Composition) -> Rewrapping:
    """Wraps the data keys anew when their wrapping key has a new version."""
    return Rewrapping(composition.get(data_key_rows), composition.get(wrapper))


def capability(composition: Composition) -> Capability:
    """Tables of keys, and the hourly look for a new version of the wrapping key."""
    if composition.settings.data_key is None:
        log_event("nothing is sealed", missing="SLUICE_DATA_KEY")

    async def rewrap_data_keys(_: JobRun) -> None:
        if composition.settings.data_key is not None:
            await composition.get(rewrapping).run()

    schedule = parse_schedule(_REWRAP_SCHEDULE)
    return Capability(
        name="encryption",
        jobs=[Job(name="rewrap-data-keys", app=AppName.STREAMS, schedule=schedule, call=rewrap_data_keys)],
        resources=[Table(name=DATA_KEYS_TABLE), SUBJECT_KEYS],
        needs=KEY_NEEDS,
        metrics=[Metrics.keys_cached],
        settings=EncryptionSettings.variables() + TokenizationSettings.variables(),
    )
