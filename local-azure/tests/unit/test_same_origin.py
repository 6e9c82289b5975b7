"""No web page can make a local port do anything, whatever name of its own leads there."""

from __future__ import annotations

import pytest

from local_azure.same_origin import refusal


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Host": "127.0.0.1:7071"},
        {"Host": "[::1]:7071"},
        {"Host": "localhost"},
        {"Host": "emulator:5300"},
        {"Host": "api.localhost:7071"},
        {"Host": "host.docker.internal:5300"},
        {"Host": "192.168.1.7:7071"},
        {"Host": "127.0.0.1:5300", "Origin": "http://127.0.0.1:5300", "Sec-Fetch-Site": "same-origin"},
        {
            "Host": "127.0.0.1:5300",
            "Sec-Fetch-Site": "cross-site",
            "Sec-Fetch-Mode": "navigate",
            "Sec-Fetch-Dest": "document",
        },
    ],
)
def test_tools_and_own_pages_pass(headers: dict[str, str]) -> None:
    """Clients without a browser, the status page itself, and whoever follows a link to it."""
    assert refusal(headers) is None


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:7071", "Origin": "http://evil.example:7071", "Sec-Fetch-Site": "same-origin"},
        {"Host": "127.0.0.1.evil.example:7071"},
        {"Host": "localhost.evil.example"},
        {"Host": "127.0.0.1:7071", "Origin": "https://evil.example"},
        {"Host": "127.0.0.1:7071", "Origin": "http://127.0.0.1:3000"},
        {"Host": "127.0.0.1:7071", "Origin": "null"},
        {"Host": "127.0.0.1:7071", "Origin": ""},
        {"Host": "127.0.0.1:7071", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
        {"Host": "evil.example@127.0.0.1]"},
        {"Host": "user@evil.example"},
    ],
)
def test_a_page_from_elsewhere_is_refused(headers: dict[str, str]) -> None:
    """Across sites, across ports, out of a sandbox, and by a name that was pointed here (DNS rebinding)."""
    assert refusal(headers)


@pytest.mark.parametrize("origin", ["https://localhost/", "http://localhost:3000", "http://127.0.0.1:8080"])
def test_a_websocket_may_come_from_any_local_page(origin: str) -> None:
    """Go's client names an origin of its own, and the service lets browsers connect."""
    headers = {"Host": "localhost:5300", "Origin": origin}
    assert refusal(headers, local_origins=True) is None
    assert refusal(headers) is not None


@pytest.mark.parametrize("origin", ["https://evil.example", "http://localhost.evil.example", "null", ""])
def test_a_websocket_may_not_come_from_a_page_of_the_internet(origin: str) -> None:
    """The local key is known to everybody."""
    assert refusal({"Host": "localhost:5300", "Origin": origin}, local_origins=True) is not None
