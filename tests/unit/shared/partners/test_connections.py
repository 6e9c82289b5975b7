"""Connections to a partner: its addresses, its certificates, and answers that are hardly HTTP."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp.connector
import pytest

from shared.messages import Category
from shared.partners import ApiKey, InvalidAnswer, Partner, PartnerError, PartnerFailed, Request, Timeouts
from shared.partners.sessions import Session, _trust
from shared.processing.failures import classify
from shared.resilience import RetryPlan
from tests.unit.shared.partners.certificates import Pair, authority, certificate, pem
from tests.unit.shared.partners.test_auth import Vault
from tests.unit.shared.partners.world import Label, world

GET = Request("GET", "/labels", "labels", {}, {}, None)
GOOD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
LABEL = GOOD % (11, b'{"id": "1"}')


@asynccontextmanager
async def answering(answer: bytes, *, tls: ssl.SSLContext | None = None, more: bytes = b"") -> AsyncIterator[int]:
    """A server that sends these bytes for each request, then `more` without end or, without it, closes; its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(answer)
                while more:
                    writer.write(more)
                    await writer.drain()
                await writer.drain()
                if answer is not LABEL:
                    break
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@dataclass
class Names:
    """Where `localhost` leads at the moment; a port stands for an address."""

    port: int = 0
    asked: int = 0
    moment: float = 1_000.0

    def getaddrinfo(self, host: str, port: int, *_: Any, **__: Any) -> list[tuple[Any, ...]]:
        """In the place of the system's resolver."""
        self.asked += 1
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", self.port))]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """A resolver whose answer changes, and a clock that is moved."""
    made = Names()
    monkeypatch.setattr(socket, "getaddrinfo", made.getaddrinfo)
    monkeypatch.setattr(aiohttp.connector, "monotonic", lambda: made.moment)
    return made


async def test_a_change_of_address_is_followed_without_a_failed_call(names: Names) -> None:
    """Connections that are there are kept for their lifetime of an hour; new ones ask again after 10 seconds."""
    async with answering(LABEL) as old, answering(LABEL) as new:
        session = Session(Partner("carrier"), "http://localhost:1", proxies=False, clock=lambda: names.moment)

        async def ports() -> set[int]:
            await asyncio.gather(*(session.send(GET, seconds=5) for _ in range(10)))
            current = session._open
            assert current is not None
            connector = current.session.connector
            assert connector is not None
            held = [handler for one in connector._conns.values() for handler, _ in one]
            return {one.transport.get_extra_info("peername")[1] for one in held if one.transport is not None}

        try:
            names.port = old
            assert await ports() == {old}
            asked = names.asked
            names.port = new
            names.moment += 60.0
            assert await ports() == {old}
            assert names.asked == asked
            await asyncio.gather(*(session.send(GET, seconds=5) for _ in range(20)))
            assert names.asked > asked
            assert await ports() == {old, new}
            names.moment += 3_600.0
            assert await ports() == {new}
        finally:
            await session.close()


@pytest.fixture(scope="module")
def root() -> Pair:
    """Who signs the servers' certificates."""
    return authority()


@pytest.fixture
def trusted(root: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """That authority is one of the system's."""
    (tmp_path / "root.pem").write_text(pem(root), encoding="utf-8")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "root.pem"))
    _trust.cache_clear()
    yield
    _trust.cache_clear()


def server_side(tmp_path: Path, shown: Pair, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2) -> ssl.SSLContext:
    """A server that shows this certificate, and offers this version alone."""
    (tmp_path / "server.pem").write_text(pem(shown), encoding="utf-8")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    return context


async def old_client_connects(port: int, cafile: str) -> bool:
    """Whether a client that takes TLS 1.1 is served: else nothing is proved."""
    context = ssl.create_default_context(cafile=cafile)
    context.minimum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    version = writer.get_extra_info("ssl_object").version()
    writer.close()
    return bool(version == "TLSv1.1")


@pytest.mark.usefixtures("trusted")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_tls_before_1_2_is_refused(root: Pair, tmp_path: Path) -> None:
    """By us: another client is served."""
    old = server_side(tmp_path, certificate("old", root), ssl.TLSVersion.TLSv1_1)
    async with answering(LABEL, tls=old) as port:
        assert await old_client_connects(port, str(tmp_path / "root.pem"))
        await refused(port)


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
async def test_tls_from_1_2_on_is_taken(root: Pair, tmp_path: Path, version: ssl.TLSVersion) -> None:
    """With a certificate for the host, of an authority that is trusted."""
    async with answering(LABEL, tls=server_side(tmp_path, certificate("good", root), version)) as port:
        session = Session(Partner("carrier"), f"https://127.0.0.1:{port}", proxies=False, clock=lambda: 0.0)
        try:
            assert (await session.send(GET, seconds=5)).status == 200
        finally:
            await session.close()


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("fault", ["another host", "expired", "nobody's", "its own"])
async def test_a_certificate_that_is_not_the_partners_is_refused(root: Pair, tmp_path: Path, fault: str) -> None:
    """Nothing is sent, least of all the key."""
    shown = {
        "another host": lambda: certificate("good", root, host="elsewhere.example"),
        "expired": lambda: certificate("good", root, ends=timedelta(hours=-1)),
        "nobody's": lambda: certificate("good", authority()),
        "its own": lambda: certificate("good", None),
    }[fault]()
    async with answering(LABEL, tls=server_side(tmp_path, shown)) as port:
        await refused(port)


async def refused(port: int) -> None:
    """A call there has no connection: a failure of the partner's, which may be tried again."""
    alone = RetryPlan(max_attempts=1, base=0.01, cap=0.02)
    urls = {"carrier": f"https://127.0.0.1:{port}"}
    given = {"secrets": Vault(key="s3cret")}
    async with world(urls=urls, given=given, auth=ApiKey(secret="key"), retry=alone) as carrier:
        with pytest.raises(PartnerFailed, match="carrier: labels: no connection") as raised:
            await carrier.calls().get("/labels", Label)
        assert not raised.value.sent
        assert "s3cret" not in str(raised.value)
        assert classify(raised.value).category is Category.TRANSIENT


CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
HARDLY_HTTP: dict[str, tuple[bytes, bytes, type[PartnerError]]] = {
    "no HTTP": (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", b"", InvalidAnswer),
    "nothing": (b"", b"", PartnerFailed),
    "half of the head": (b"HTTP/1.1 200 OK\r\nContent-Ty", b"", PartnerFailed),
    "half of the body": (GOOD % (40, b'{"id": "1"'), b"", PartnerFailed),
    "half of a chunk": (CHUNKED + b"20\r\n{", b"", PartnerFailed),
    "no chunk": (CHUNKED + b"zz\r\n{}", b"", InvalidAnswer),
    "an endless body": (CHUNKED, b"10000\r\n" + b" " * 65_536 + b"\r\n", InvalidAnswer),
    "an endless header": (b"HTTP/1.1 200 OK\r\nX-Long: ", b"x" * 65_536, InvalidAnswer),
    "endless headers": (b"HTTP/1.1 200 OK\r\n", b"X-More: and more\r\n" * 4_096, InvalidAnswer),
    "more than it said": (GOOD % (9 * 1024 * 1024, b"{"), b"", InvalidAnswer),
    "Latin-1": (GOOD % (11, b'{"id": "\xe9"}'), b"", InvalidAnswer),
    "two lengths": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 11\r\n\r\n{}",
        b"",
        InvalidAnswer,
    ),
}


@pytest.mark.parametrize("kind", list(HARDLY_HTTP))
async def test_what_is_hardly_http_is_a_failure_of_its_partner(kind: str) -> None:
    """Named, bounded in time and memory, and never with the key."""
    answer, more, error = HARDLY_HTTP[kind]
    alone = RetryPlan(max_attempts=1, base=0.01, cap=0.02)
    async with answering(answer, more=more) as port:
        given = {"secrets": Vault(key="s3cret")}
        urls = {"carrier": f"http://127.0.0.1:{port}"}
        options: dict[str, Any] = {"retry": alone, "timeouts": Timeouts(total=10)}
        async with world(urls=urls, given=given, auth=ApiKey(secret="key"), **options) as carrier:
            with pytest.raises(error, match=r"^carrier: labels: ") as raised:
                await carrier.calls().get("/labels", Label)
            assert type(raised.value) is error
            assert "s3cret" not in str(raised.value)
