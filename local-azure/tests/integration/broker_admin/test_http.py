"""The HTTP port itself: the status page, plain HTTP, and clients that misbehave."""

from __future__ import annotations

import json
import socket
import ssl
import urllib.error
import urllib.request
from typing import Any

import pytest
from azure.core.pipeline.transport import RequestsTransport
from azure.servicebus import ServiceBusClient, ServiceBusMessage
from azure.servicebus.management import ServiceBusAdministrationClient

from integration.broker.process import EmulatorProcess
from integration.broker_admin.certificate import Certificate

ENTRY = (
    '<entry xmlns="http://www.w3.org/2005/Atom"><content type="application/xml"><QueueDescription '
    'xmlns="http://schemas.microsoft.com/netservices/2010/10/servicebus/connect">{}</QueueDescription></content></entry>'
)


def request(
    broker: EmulatorProcess, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, str]:
    """Status and body of an answer over plain HTTP."""
    url = f"http://localhost:{broker.admin_port}{path}"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers, method=method), timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_the_status_counts_what_is_there(
    admin: ServiceBusAdministrationClient, client: ServiceBusClient, broker: EmulatorProcess, name: str
) -> None:
    admin.create_queue(name)
    admin.create_topic(f"{name}-topic")
    admin.create_subscription(f"{name}-topic", "s")
    with client.get_queue_sender(name) as sender:
        sender.send_messages([ServiceBusMessage("a"), ServiceBusMessage("b")])
        status = json.loads(request(broker, "GET", "/status.json")[1])
    counts = {"active": 2, "locked": 0, "scheduled": 0, "deferred": 0, "deadLetter": 0, "enqueuedTotal": 2}
    assert status["queues"][name] == counts
    assert status["topics"][f"{name}-topic"] == {"subscriptions": {"s": dict.fromkeys(counts, 0)}}
    assert status["connections"] >= 1


def test_no_web_page_administers_the_namespace(broker: EmulatorProcess, name: str) -> None:
    """Not from another site, and not by a name of its own that was pointed here."""
    for foreign in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}):
        for method, path in (("PUT", f"/{name}?api-version=2021-05"), ("GET", "/status.json"), ("GET", "/")):
            assert request(broker, method, path, ENTRY.encode(), **foreign)[0] == 403


def test_the_page_shows_the_same_and_needs_nothing_from_elsewhere(
    admin: ServiceBusAdministrationClient, broker: EmulatorProcess, name: str
) -> None:
    admin.create_queue(name)
    status, page = request(broker, "GET", "/")
    assert status == 200
    assert page.startswith("<!DOCTYPE html>")
    assert f"<td>{name}</td>" in page
    assert "src=" not in page
    assert "https://" not in page


def test_whoever_waits_for_the_official_emulator_is_told_it_is_healthy(broker: EmulatorProcess) -> None:
    status, answer = request(broker, "GET", "/health")
    assert (status, json.loads(answer)["status"]) == (200, "healthy")


class PlainHttp(RequestsTransport):  # type: ignore[misc]
    """Lets the SDK, which knows https only, speak http."""

    def send(self, request: Any, **options: Any) -> Any:
        request.url = request.url.replace("https://", "http://", 1)
        return super().send(request, **options)


def test_the_sdk_can_be_led_over_plain_http(admin_connection_string: str, name: str) -> None:
    with ServiceBusAdministrationClient.from_connection_string(admin_connection_string, transport=PlainHttp()) as admin:
        admin.create_queue(name)
        assert admin.get_queue(name).name == name


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not well-formed"),
        (b"<entry", "not well-formed"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"{}", "not well-formed"),
        (b"<entry/>", "not an Atom entry"),
        (b'<!DOCTYPE a [<!ENTITY x "y">]><entry>&x;</entry>', "document type"),
        (b"<entry><content><Other/></content></entry>", "Other"),
        (ENTRY.format("<LockDuration>soon</LockDuration>").encode(), "LockDuration"),
        (ENTRY.format("<MaxDeliveryCount>1e9</MaxDeliveryCount>").encode(), "MaxDeliveryCount"),
        (ENTRY.format("<RequiresSession>maybe</RequiresSession>").encode(), "RequiresSession"),
        (ENTRY.format("<Status>Asleep</Status>").encode(), "Status"),
        (ENTRY.format("<a>" * 20_000 + "</a>" * 20_000).encode()[:-40], "not well-formed"),
    ],
)
def test_a_malformed_body_is_refused_with_the_reason(
    broker: EmulatorProcess, name: str, body: bytes, reason: str
) -> None:
    status, answer = request(broker, "PUT", f"/{name}?api-version=2021-05", body)
    assert status == 400
    assert reason in answer
    assert request(broker, "GET", f"/{name}?api-version=2021-05")[0] == 404


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/some-queue", 405),
        ("PATCH", "/$namespaceinfo", 405),
        ("DELETE", "/$Resources/queues", 405),
        ("GET", "/$Resources/everything", 404),
        ("GET", "/$Resources/queues?$skip=-1", 400),
        ("GET", "/$Resources/queues?$top=all", 400),
        ("GET", "/$Resources/queues?$skip=999999999", 200),
        ("PUT", "/bad%20name", 400),
        ("DELETE", "/", 404),
        ("GET", "/a/subscriptions/b/rules/c/d", 404),
        ("GET", "/%00", 404),
        ("GET", "/..%2f..%2fetc", 404),
    ],
)
def test_an_odd_request_gets_a_proper_answer(broker: EmulatorProcess, method: str, path: str, status: int) -> None:
    body = ENTRY.format("").encode() if method == "PUT" else None
    assert request(broker, method, path, body)[0] == status


def test_unknown_elements_are_passed_over(broker: EmulatorProcess, name: str) -> None:
    body = ENTRY.format("<NewerThanUs>5</NewerThanUs><MaxDeliveryCount>4</MaxDeliveryCount>").encode()
    status, answer = request(broker, "PUT", f"/{name}?api-version=2021-05", body)
    assert status == 201
    assert "<MaxDeliveryCount>4</MaxDeliveryCount>" in answer


def test_a_huge_body_is_refused(broker: EmulatorProcess, name: str) -> None:
    status, _ = request(broker, "PUT", f"/{name}?api-version=2021-05", b"x" * 1_100_000)
    assert status == 413


def test_garbage_and_silence_hurt_nobody_else(broker: EmulatorProcess, certificate: Certificate) -> None:
    address = ("localhost", broker.admin_port)
    with socket.create_connection(address) as silent, socket.create_connection(address) as garbage:
        garbage.sendall(b"\x00\xff" * 500)
        half = socket.create_connection(address)
        half.sendall(b"\x16\x03\x01\x02")
        broken = socket.create_connection(address)
        broken.sendall(b"\x16" + b"\xff" * 600)
        broken.settimeout(5)
        broken.recv(100)
        assert request(broker, "GET", "/status.json")[0] == 200
        trusting = ssl.create_default_context(cafile=str(certificate.certificate))
        with urllib.request.urlopen(
            f"https://localhost:{broker.admin_port}/status.json", context=trusting, timeout=5
        ) as answer:
            assert answer.status == 200
        half.close()
        broken.close()
        assert silent.fileno() >= 0
