"""Which addresses a webhook may go to: a subscriber names the URL, and the app calls it from inside the network.

The list of networks is ours: `ipaddress.is_global` lets NAT64, 6to4 and Azure's wire server through. Sources: the IANA
special-purpose registries for IPv4 and IPv6 (RFC 6890), and "What is IP address 168.63.129.16?" (learn.microsoft.com).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

__all__ = ["AddressPolicy", "RefusedAddress", "Target", "check_url"]

LONGEST_URL = 2_048
_HOST = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))*\.?")
_PORT = 443

Network = IPv4Network | IPv6Network

_REFUSED_V4 = tuple(
    IPv4Network(one)
    for one in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's wire server, in a public block
        "169.254.0.0/16",  # link-local: instance metadata and managed identity
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
_UNICAST_V6 = IPv6Network("2000::/3")
"""The only block of IPv6 that is routed: everything else is private, link-local, multicast, mapped or translated."""
_REFUSED_V6 = tuple(
    IPv6Network(one)
    for one in (
        "2001::/23",  # IETF protocol assignments, Teredo and ORCHID among them
        "2001:db8::/32",
        "2002::/16",  # 6to4
        "2620:4f:8000::/48",
        "3fff::/20",
    )
)
_LOOPBACK = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))


class RefusedAddress(OSError):
    """A webhook must not go there; the message says why, in words of ours. An OSError: sockets raise nothing else."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a URL leads: the host as it is resolved, in ASCII, and the port."""

    host: str
    port: int


@dataclass(frozen=True, kw_only=True)
class AddressPolicy:
    """What is refused, beside what always is.

    Parameters
    ----------
    local:
        Let this machine be called, over plain HTTP and on any port too: for the local stack and for tests.
    networks:
        More networks that are refused: one's own, where they have public addresses.
    """

    local: bool = False
    networks: tuple[Network, ...] = ()

    @classmethod
    def of(cls, *, local: bool, networks: Sequence[str]) -> "AddressPolicy":
        """A policy from the texts of settings; raises ValueError for what is no network."""
        return cls(local=local, networks=tuple(ip_network(one) for one in networks))

    def check(self, address: str) -> None:
        """Raise RefusedAddress for an address, as a socket gets it, that must not be connected to."""
        try:
            found = canonical(ip_address(address.partition("%")[0]))
        except ValueError:
            raise RefusedAddress("the address can't be read") from None
        if self.local and any(found in network for network in _LOOPBACK):
            return
        if isinstance(found, IPv4Address):
            refused = any(found in network for network in _REFUSED_V4)
        else:
            refused = found not in _UNICAST_V6 or any(found in network for network in _REFUSED_V6)
        if refused or any(found in network for network in self.networks):
            raise RefusedAddress("the host's address isn't on the public internet")


def canonical(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """IPv4 in place of an IPv6 address that only wraps one (`::ffff:0:0/96`)."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped


@lru_cache(4_096)
def check_url(url: str, policy: AddressPolicy) -> Target:
    """Where a URL leads, if a webhook may go there as far as the URL tells; an address in it is checked too.

    Raises
    ------
    RefusedAddress
        Not HTTPS to a host, a user or a fragment, another port than 443, a host that no DNS has, too long.
    """
    if len(url) > LONGEST_URL or any(one <= " " or one == "\x7f" or one == "\\" for one in url):
        raise RefusedAddress(f"the URL has at most {LONGEST_URL} characters, and no spaces, backslashes or controls")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise RefusedAddress("the URL can't be read") from None
    if not host or parts.scheme not in ("https", "http"):
        raise RefusedAddress("the URL must be https:// to a host")
    if "@" in parts.netloc or parts.fragment:
        raise RefusedAddress("the URL must have no user and no fragment")
    host = _ascii(host)
    if policy.local and _is_local(host):
        return Target(host, port or (443 if parts.scheme == "https" else 80))
    if parts.scheme != "https":
        raise RefusedAddress("the URL must be https:// to a host")
    if port not in (None, _PORT):
        raise RefusedAddress(f"the URL's port must be {_PORT}")
    if _is_literal(host):
        policy.check(host)
    elif "." not in host.rstrip(".") or host.rstrip(".").rpartition(".")[2].isdecimal():
        raise RefusedAddress("the host must be a public name")
    return Target(host, _PORT)


def _ascii(host: str) -> str:
    """As DNS knows it: international names in their ASCII form."""
    if _is_literal(host):
        return host
    try:
        name = host.encode("idna").decode("ascii").lower()
    except UnicodeError:
        raise RefusedAddress("the host is no name that DNS could have") from None
    if not _HOST.fullmatch(name):
        raise RefusedAddress("the host is no name that DNS could have")
    return name


def _is_literal(host: str) -> bool:
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _is_local(host: str) -> bool:
    if not _is_literal(host):
        return host == "localhost"
    found = canonical(ip_address(host.partition("%")[0]))
    return any(found in network for network in _LOOPBACK)
