"""No webhook leaves the public internet: not by its URL, nor by a name that changes its mind."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from shared.subscriptions import AddressPolicy, HttpSender, RefusedAddress, check_url
from tests.unit.shared.subscriptions.kit import Receiver, receiving

STRICT = AddressPolicy()
PUBLIC = ("1.1.1.1", "8.8.8.8", "52.95.110.1", "168.63.129.17", "2606:4700:4700::1111", "2a00:1450:4001:82a::200e")
INSIDE = (
    "0.0.0.0", "0.1.2.3", "10.0.0.4", "100.64.0.1", "127.0.0.1", "127.8.8.8", "168.63.129.16", "169.254.169.254",
    "169.254.130.4", "172.16.0.1", "172.31.255.255", "192.0.0.8", "192.0.2.1", "192.88.99.1", "192.168.1.1",
    "198.18.0.1", "198.51.100.7", "203.0.113.9", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:a9fe:a9fe", "::ffff:168.63.129.16",
    "::ffff:0:7f00:1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "100::1", "2001::1", "2001:20::1",
    "2001:db8::1", "2002:7f00:1::", "2002:a9fe:a9fe::1", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1",
    "fe80::1%eth0", "fec0::1", "ff02::1", "4000::1",
)  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_the_public_internet_is_called(address: str) -> None:
    STRICT.check(address)


@pytest.mark.parametrize("address", INSIDE)
def test_nothing_else_is_called(address: str) -> None:
    with pytest.raises(RefusedAddress):
        STRICT.check(address)


def test_on_a_laptop_this_machine_is_called_and_nothing_else_inside() -> None:
    local = AddressPolicy(local=True)
    for address in INSIDE:
        if address in ("127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"):
            local.check(address)
        else:
            with pytest.raises(RefusedAddress):
                local.check(address)


def test_own_networks_are_refused_too() -> None:
    policy = AddressPolicy.of(local=False, networks=["20.30.0.0/16"])
    policy.check("20.31.0.1")
    with pytest.raises(RefusedAddress):
        policy.check("20.30.1.1")
    with pytest.raises(RefusedAddress):
        policy.check("::ffff:20.30.1.1")


@pytest.mark.parametrize(
    "url",
    [
        "", "example.com", "http://example.com/", "ftp://example.com/", "file:///etc/passwd", "https://",
        "https://user@example.com/", "https://user:password@example.com/", "https://@example.com/",
        "https://example.com:8443/", "https://example.com:22/", "https://example.com:99999/", "https://example.com/#x",
        "https://localhost/", "https://metadata/", "https://127.0.0.1/", "https://[::1]/", "https://[::ffff:7f00:1]/",
        "https://2130706433/", "https://0x7f.1/", "https://127.1/", "https://0177.0.0.1/", "https://①②⑦.0.0.1/",
        "https://169.254.169.254/metadata/instance", "https://168.63.129.16/", "https://[64:ff9b::7f00:1]/",
        "https://exa mple.com/", "https://example.com\\@127.0.0.1/", "https://example.com/\r\nHost: x", "https://[::1",
        "https://-example.com/", "https://ex_ample..com/",
        pytest.param("https://" + "a" * 3_000 + ".com/", id="too-long"), "javascript:alert(1)",
        "https://127.0.0.1:443@example.com/", "https://[fe80::1%25eth0]/",
    ],
)  # fmt: skip
def test_hostile_urls(url: str) -> None:
    with pytest.raises(RefusedAddress):
        check_url(url, STRICT)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://hooks.example.com/a?b=c", "hooks.example.com"),
        ("https://hooks.example.com:443/", "hooks.example.com"),
        ("https://BÜCHER.example/", "xn--bcher-kva.example"),
        ("https://8.8.8.8/", "8.8.8.8"),
        ("https://[2606:4700:4700::1111]/", "2606:4700:4700::1111"),
    ],
)
def test_good_urls(url: str, host: str) -> None:
    target = check_url(url, STRICT)
    assert (target.host, target.port) == (host, 443)


class Rebinding(AbstractResolver):
    """Says a public address to whoever asks first, and this machine's to everybody after."""

    def __init__(self, port: int, *answers: str) -> None:
        self._port = port
        self._answers = list(answers)
        self.asked = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        address = self._answers[min(self.asked, len(self._answers) - 1)]
        self.asked += 1
        return [ResolveResult(hostname=host, host=address, port=self._port, family=socket.AF_INET, proto=0, flags=0)]

    async def close(self) -> None: ...


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver on loopback, which no webhook may reach here."""
    async with receiving() as found:
        yield found


async def test_a_name_that_changes_its_mind_reaches_nobody(receiver: Receiver) -> None:
    """The check at the subscription hears a public address; the socket is refused all the same."""
    resolver = Rebinding(int(receiver.url.rpartition(":")[2]), "93.184.216.34", "127.0.0.1")
    first = await resolver.resolve("hooks.example.com")
    STRICT.check(first[0]["host"])
    sender = HttpSender(STRICT, seconds=5, resolver=resolver)
    answer = await sender.post("https://hooks.example.com/", b"{}", {})
    await sender.close()
    assert (answer.refused, answer.status) == (True, None)
    assert resolver.asked == 2
    assert receiver.received == []


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost"])
async def test_what_a_url_check_misses_no_socket_is_made_to(
    receiver: Receiver, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were the check of the URL passed: addresses as they stand in a URL are never resolved, yet checked."""
    port = receiver.url.rpartition(":")[2]
    monkeypatch.setattr("shared.subscriptions.sender.check_url", lambda *_: None)
    sender = HttpSender(STRICT, seconds=5)
    answer = await sender.post(f"http://{host}:{port}/", b"{}", {})
    await sender.close()
    assert answer.refused
    assert receiver.received == []


async def test_no_proxy_of_the_environment_is_asked(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, receiver.url)
    resolver: Any = Rebinding(1, "10.0.0.1")
    sender = HttpSender(STRICT, seconds=5, resolver=resolver)
    answer = await sender.post("https://hooks.example.com/", b"{}", {})
    await sender.close()
    assert answer.refused
    assert receiver.received == []
