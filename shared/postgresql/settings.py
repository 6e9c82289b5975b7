"""Settings of change capture: where the databases are on this stage."""

from collections.abc import Iterator

from pydantic import Field, SecretStr

from shared.environment import SettingsSlice, contradiction, listed

from .address import ServerAddress
from .errors import UnfitSource

__all__ = ["CaptureSettings"]


class CaptureSettings(SettingsSlice):
    """Where the databases are whose changes are captured."""

    capture_urls: SecretStr = Field(SecretStr(""), alias="SLUICE_CAPTURE_URLS")
    capture_lag_bytes: int = Field(1 << 30, alias="SLUICE_CAPTURE_LAG_BYTES", ge=1 << 20)
    """Of a database's log that may wait before health calls it degraded."""

    def databases(self) -> dict[str, ServerAddress]:
        """Name → address: `SLUICE_CAPTURE_URLS` lists `name=postgresql://user@host/database`, separated by commas."""
        pairs = (one.partition("=") for one in listed(self.capture_urls.get_secret_value()))
        return {name.strip(): ServerAddress.of(url.strip()) for name, _, url in pairs}

    @contradiction("capture_urls")
    def _addresses_of_databases(self) -> Iterator[str]:
        try:
            self.databases()
        except UnfitSource as error:
            yield f"SLUICE_CAPTURE_URLS: {error}"
