"""The app's keys and what encrypts with them, made where the settings name a data key."""

from collections.abc import Callable
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from shared.encryption import (
    DataKeys,
    DataKeyWrapper,
    KeyTable,
    KeyWrapper,
    MessageEncryption,
    PassLease,
    Rewrapping,
    SecretWrapper,
    SubjectKeys,
    VaultWrapper,
)
from shared.messages import Lane
from shared.secrets import SecretCache
from shared.settings import Settings
from shared.tables import Table
from shared.tokenization import TokenKeys

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential

__all__ = ["Protection"]

DATA_KEYS_TABLE = "datakeys"
SUBJECT_KEYS_TABLE = "subjectkeys"
TOKENS_TABLE = "tokens"


class Protection:
    """Data keys, subjects' keys, tokens and encrypted messages of one app. Nothing connects before it is used.

    Parameters
    ----------
    secrets, credential:
        Called when the first key is needed.
    table:
        Makes the client of a table.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        secrets: Callable[[], SecretCache],
        credential: "Callable[[], AsyncTokenCredential]",
        table: Callable[[str], Table],
        lease: Callable[[str], PassLease],
        now: Callable[[], datetime],
    ) -> None:
        self._settings = settings
        self._secrets = secrets
        self._credential = credential
        self._table = table
        self._lease = lease
        self._now = now

    @cached_property
    def _wrapper(self) -> KeyWrapper:
        kind, _, name = (self._settings.data_key or "").partition(":")
        if kind == "secret":
            return SecretWrapper(self._secrets(), name)
        return self._vault_wrapper

    @cached_property
    def _vault_wrapper(self) -> VaultWrapper:
        vault = self._settings.key_vault
        name = (self._settings.data_key or "").partition(":")[2]
        return VaultWrapper(vault.vaults[0] if vault else "", name, self._credential)

    @cached_property
    def _data_rows(self) -> KeyTable:
        return KeyTable(self._table(DATA_KEYS_TABLE))

    @cached_property
    def _subject_rows(self) -> KeyTable:
        return KeyTable(self._table(SUBJECT_KEYS_TABLE))

    @cached_property
    def data_keys(self) -> DataKeys:
        """The keys that data is encrypted under."""
        return DataKeys(self._data_rows, self._wrapper, now=self._now)

    @cached_property
    def subject_keys(self) -> SubjectKeys:
        """A key for each subject."""
        return self.fresh_subject_keys()

    def fresh_subject_keys(self) -> SubjectKeys:
        """Subjects' keys as an instance sees them that has just started."""
        return SubjectKeys(self._subject_rows, DataKeyWrapper(self.data_keys), now=self._now)

    def table_of_tokens(self) -> Table:
        """A client of the table of what tokens stand for."""
        return self._table(TOKENS_TABLE)

    @cached_property
    def token_keys(self) -> TokenKeys | None:
        """What tokens are made with; None where SLUICE_TOKEN_KEY isn't set."""
        current, *earlier = self._settings.token_keys or ("",)
        return TokenKeys(self._secrets(), current, earlier=earlier) if current else None

    @cached_property
    def messages(self) -> MessageEncryption:
        """Encrypts whole messages, and bodies of dead letters."""
        lanes = [Lane(name) for name in self._settings.encrypted_lanes]
        return MessageEncryption(self.data_keys, lanes, required=self._settings.encryption_required)

    @cached_property
    def rewrapping(self) -> Rewrapping:
        """Wraps the data keys anew when their wrapping key has a new version."""
        return Rewrapping(self._data_rows, self._wrapper, lease=self._lease("rewrap"))

    async def close(self) -> None:
        """Close what was opened."""
        made = vars(self)
        for name in ("_vault_wrapper", "_data_rows", "_subject_rows"):
            if name in made:
                await made[name].close()
