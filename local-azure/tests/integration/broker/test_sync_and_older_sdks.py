"""The synchronous SDKs, the newest and an older line that is still in use (7.12 and 5.12, over TLS)."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from integration.broker.configuration import EVENT_HUBS, SERVICE_BUS
from integration.broker.process import EmulatorProcess

_SCENARIO = Path(__file__).with_name("sync_scenario.py")
_STEPS = 9
_OLDER = ("azure-servicebus==7.12.3", "azure-eventhub==5.12.2")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for localhost and its key."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture(scope="module")
def tls_emulator(tmp_path_factory: pytest.TempPathFactory, certificate: tuple[Path, Path]) -> Iterator[EmulatorProcess]:
    """An emulator with a certificate."""
    cert, key = certificate
    arguments = ("--volatile", "--tls-cert", str(cert), "--tls-key", str(key))
    with EmulatorProcess(tmp_path_factory.mktemp("tls-emulator"), [SERVICE_BUS, EVENT_HUBS], *arguments) as running:
        yield running


@pytest.fixture(scope="session")
def older_python(project: Path) -> Path:
    """An interpreter with the older SDKs, installed once into the project's own folder for such things."""
    folder = project / ".sluice" / "older-sdks"
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    marker = folder / "installed"
    if not marker.exists() or marker.read_text() != " ".join(_OLDER):
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *_OLDER], check=True, timeout=300)
        marker.write_text(" ".join(_OLDER))
    return python


def _run(python: Path | str, *arguments: str) -> list[str]:
    finished = subprocess.run(
        [str(python), str(_SCENARIO), *arguments], capture_output=True, text=True, timeout=110, check=False
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout.splitlines()


def test_newest_sdk_synchronously(broker: EmulatorProcess) -> None:
    """Every step of the scenario, over plain TCP, on a durable emulator."""
    steps = _run(sys.executable, broker.connection_string)
    assert len(steps) == _STEPS + 1


def test_older_sdk_synchronously_over_tls(
    tls_emulator: EmulatorProcess, certificate: tuple[Path, Path], older_python: Path
) -> None:
    """The same steps with SDKs that know no development emulator."""
    connection_string = tls_emulator.connection_string.replace("UseDevelopmentEmulator=true;", "")
    steps = _run(older_python, connection_string, str(certificate[0]))
    assert steps[0] == "azure-servicebus 7.12.3, azure-eventhub 5.12.2"
    assert len(steps) == _STEPS + 1


async def test_one_port_speaks_tls_and_plain(tls_emulator: EmulatorProcess, certificate: tuple[Path, Path]) -> None:
    """The first byte decides; the AMQP header is answered either way."""
    trusting = ssl.create_default_context(cafile=str(certificate[0]))
    for context in (trusting, None):
        reader, writer = await asyncio.open_connection("localhost", tls_emulator.port, ssl=context)
        writer.write(b"AMQP\x03\x01\x00\x00")
        assert await asyncio.wait_for(reader.readexactly(8), 5) == b"AMQP\x03\x01\x00\x00"
        writer.close()
