"""Settings of partners: where they are on this stage."""

from collections.abc import Iterator

from pydantic import Field

from shared.environment import SettingsSlice, contradiction, listed

from .partner import check_base_url

__all__ = ["PartnerSettings"]


class PartnerSettings(SettingsSlice):
    """Where partners are, and whether the way to them leads through a proxy."""

    partner_urls: str = Field("", alias="SLUICE_PARTNER_URLS")
    partner_proxies: bool = Field(False, alias="SLUICE_PARTNER_PROXIES")

    def partner_base_urls(self) -> dict[str, str]:
        """Partner → base URL: `SLUICE_PARTNER_URLS` lists them as `name=https://…`, separated by commas."""
        pairs = (one.partition("=") for one in listed(self.partner_urls))
        return {name.strip(): check_base_url(name.strip(), url.strip()) for name, _, url in pairs}

    @contradiction("partner_urls")
    def _urls_of_partners(self) -> Iterator[str]:
        try:
            self.partner_base_urls()
        except ValueError as error:
            yield f"SLUICE_PARTNER_URLS: {error}"
