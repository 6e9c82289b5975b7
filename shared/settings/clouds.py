"""The clouds that Azure is run as, and the names that differ between them."""

from enum import StrEnum

__all__ = ["Cloud"]


class Cloud(StrEnum):
    """One of Azure's clouds (learn.microsoft.com: "National clouds", "Azure Key Vault basic concepts")."""

    PUBLIC = "public"
    USGOV = "usgov"
    CHINA = "china"

    @property
    def authority_hosts(self) -> tuple[str, ...]:
        """Hosts of the cloud's Entra ID; the first is the one to ask for tokens."""
        return _AUTHORITIES[self]

    @property
    def vault_suffix(self) -> str:
        """What the host name of every Key Vault of the cloud ends with."""
        return _VAULTS[self]

    @classmethod
    def of_host(cls, host: str) -> "Cloud | None":
        """The cloud that a host belongs to; None where it can't be told."""
        for cloud in cls:
            if host in cloud.authority_hosts or host.endswith(cloud.vault_suffix):
                return cloud
        return None


_AUTHORITIES = {
    Cloud.PUBLIC: ("login.microsoftonline.com", "sts.windows.net"),
    Cloud.USGOV: ("login.microsoftonline.us",),
    Cloud.CHINA: ("login.partner.microsoftonline.cn", "login.chinacloudapi.cn", "sts.chinacloudapi.cn"),
}
_VAULTS = {
    Cloud.PUBLIC: ".vault.azure.net",
    Cloud.USGOV: ".vault.usgovcloudapi.net",
    Cloud.CHINA: ".vault.azure.cn",
}
