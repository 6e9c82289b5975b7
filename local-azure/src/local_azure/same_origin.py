"""Which requests a local port refuses because a web page made them: any page that a developer opens can reach it.

A page can post to a loopback address (cross-site request), and with DNS rebinding its own name leads there, so that a
browser takes it for the same site. Both show: in `Origin` (RFC 6454) and in `Host`, which no page can choose.
"""

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

__all__ = ["refusal"]

_NAMES = ("localhost", "host.docker.internal")


def refusal(headers: Mapping[str, str], *, local_origins: bool = False) -> str | None:
    """Why a request is refused with 403; None where it may pass.

    A host is taken by address, as localhost, or by a name without a dot, as containers have: no page on the Internet
    has one of these.

    Parameters
    ----------
    headers:
        By name, in any case.
    local_origins:
        Whether a page of any local host may call, as for WebSockets, to which the service lets browsers connect, and
        of which some clients that are no browser name an origin.
    """
    host = headers.get("Host", "")
    if host and not _is_local(_name(f"//{host}")):
        return "This port answers under an address or a local name only; the Host header says another one."
    origin = headers.get("Origin")
    is_same = origin is None or urlsplit(origin).netloc.lower() == host.lower()
    if not is_same and not (local_origins and _is_local(_name(origin or ""))):
        return "A page of another origin may not call this port."
    if origin is None and headers.get("Sec-Fetch-Site", "none") == "cross-site" and not _navigates(headers):
        return "A page of another site may not call this port."
    return None


def _navigates(headers: Mapping[str, str]) -> bool:
    """Somebody followed a link; the page that has it sees nothing of what comes."""
    return headers.get("Sec-Fetch-Mode") == "navigate" and headers.get("Sec-Fetch-Dest") == "document"


def _name(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _is_local(name: str | None) -> bool:
    if not name:
        return False
    if name in _NAMES or "." not in name.rstrip(".") or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
