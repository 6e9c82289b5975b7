"""The clouds that Azure is run as, and what differs between them for this app."""

from enum import StrEnum

__all__ = ["Cloud"]


class Cloud(StrEnum):
    """One of Azure's clouds (Microsoft Entra authentication and national clouds)."""

    PUBLIC = "public"
    USGOV = "usgov"
    CHINA = "china"

    @property
    def authority(self) -> str:
        """Host of the cloud's Entra ID, which is asked for tokens."""
        return _AUTHORITIES[self]


_AUTHORITIES = {
    Cloud.PUBLIC: "login.microsoftonline.com",
    Cloud.USGOV: "login.microsoftonline.us",
    Cloud.CHINA: "login.chinacloudapi.cn",
}
