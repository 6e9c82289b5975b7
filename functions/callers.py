"""Where the API keys of the moment come from: the settings, or a secret that may change while the app runs."""

from collections.abc import Callable

from pydantic import SecretStr

from shared.authentication import ApiKeys, CannotTell
from shared.environment import SecretReference, WrongSettings
from shared.secrets import Secret, SecretCache, SecretError
from shared.telemetry import log_event

__all__ = ["ApiKeySource"]

RETRY_AFTER_SECONDS = 2


class ApiKeySource:
    """Reads the keys' hashes once for every version of the secret.

    Parameters
    ----------
    setting:
        The JSON itself, or `secret:<name>`.
    secrets:
        Called when a secret is needed, on the event loop.

    Raises
    ------
    WrongSettings
        The JSON in the setting is wrong.
    """

    def __init__(self, setting: SecretStr, secrets: Callable[[], SecretCache]) -> None:
        self._reference = SecretReference.of(setting.get_secret_value())
        self._name = "" if self._reference is None else _full_name(self._reference)
        self._secrets = secrets
        self._read: tuple[Secret | None, ApiKeys] | None = None
        if self._reference is None:
            try:
                self._read = None, ApiKeys.parse(setting.get_secret_value())
            except ValueError as wrong:
                raise WrongSettings(f"Wrong settings: SLUICE_API_KEYS: {wrong}") from None

    async def __call__(self) -> ApiKeys:
        """The keys that count now; a new version that can't be read changes nothing and is reported.

        Raises
        ------
        CannotTell
            The secret can't be had, or never could be read.
        """
        if self._reference is None and self._read is not None:
            return self._read[1]
        try:
            secret = await self._secrets().get(self._name)
            if self._read is None or self._read[0] is not secret:
                self._read = secret, self._parsed(secret)
        except SecretError as failure:
            log_event("no secret", level=40, secret=failure.name, reason=failure.reason)
            raise CannotTell("API keys can't be checked just now.", retry_after=RETRY_AFTER_SECONDS) from None
        return self._read[1]

    def _parsed(self, secret: Secret) -> ApiKeys:
        try:
            return ApiKeys.parse(secret.value)
        except ValueError as wrong:
            log_event("API keys not read", level=40, secret=secret.name, version=secret.version, reason=str(wrong))
            if self._read is None:
                raise CannotTell("API keys can't be checked just now.", retry_after=RETRY_AFTER_SECONDS) from None
            return self._read[1]


def _full_name(reference: SecretReference) -> str:
    return reference.name if reference.version is None else f"{reference.name}/{reference.version}"
