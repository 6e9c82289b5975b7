"""Whether requests go through a proxy that the environment names."""

import urllib.request

__all__ = ["proxied"]


def proxied() -> bool:
    """Whether the environment names a proxy, for the `use_env_settings` of the SDKs' clients.

    Asked once for a client: left to themselves, aiohttp's sessions ask for the proxies and read ~/.netrc before every
    request, each in a thread of its own, which costs as much as sending it (docs/decisions/overlapping-work.md).
    """
    return bool(urllib.request.getproxies())
