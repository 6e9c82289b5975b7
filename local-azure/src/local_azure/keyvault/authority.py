"""A certificate authority for this machine's loopback address, made when a folder is first used."""

from __future__ import annotations

import ipaddress
import os
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from local_azure.keyvault.address import VAULT_NAME

__all__ = ["AuthorityError", "server_context", "write_bundle"]

_AUTHORITY_DAYS: Final = 3_650
_SERVER_DAYS: Final = 90
_RENEW_DAYS: Final = 30
_HOSTS: Final = ("localhost",)
"""The authority may sign for these and what is below them."""

_SERVED: Final = (*_HOSTS, VAULT_NAME)
_ADDRESSES: Final = ("127.0.0.1", "::1")
_CLOCK_SKEW: Final = timedelta(hours=1)


class AuthorityError(Exception):
    """The authority's files cannot be read; the message says which to remove."""


def server_context(folder: Path) -> ssl.SSLContext:
    """What a server of this machine needs to speak TLS, with a certificate made for this start.

    Raises
    ------
    AuthorityError
        If the authority that is there cannot be read.
    OSError
        If the folder cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    certificate, key = _authority(folder)
    server_key = ec.generate_private_key(ec.SECP256R1())
    server = _server_certificate(certificate, key, server_key.public_key())
    path = folder / "server.pem"
    _write_private(path, _pem(server_key) + server.public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


def write_bundle(folder: Path) -> Path:
    """Write what clients trust: the roots they trust anyway, and this authority. For `SSL_CERT_FILE`.

    `REQUESTS_CA_BUNDLE` takes the same file: requests does not look at `SSL_CERT_FILE`.
    """
    import certifi

    # The first knows SSL_CERT_FILE and the system's own place, where a company's roots are.
    sources = [ssl.get_default_verify_paths().cafile, certifi.where(), str(folder / "ca.pem")]
    blocks: dict[str, None] = {}
    for source in sources:
        if source is not None and Path(source).exists():
            text = Path(source).read_text(encoding="utf-8", errors="replace")
            for part in text.split("-----BEGIN CERTIFICATE-----")[1:]:
                blocks[part.partition("-----END CERTIFICATE-----")[0].strip()] = None
    path = folder / "ca-bundle.pem"
    partial = path.with_suffix(".partial")
    marks = ("-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----")
    partial.write_text("".join(f"{marks[0]}\n{block}\n{marks[1]}\n" for block in blocks), encoding="utf-8")
    os.replace(partial, path)
    return path


def _authority(folder: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    certificate_path, key_path = folder / "ca.pem", folder / "ca-key.pem"
    if certificate_path.exists() and key_path.exists():
        try:
            certificate = x509.load_pem_x509_certificate(certificate_path.read_bytes())
            key = load_pem_private_key(key_path.read_bytes(), None)
        except (ValueError, TypeError):
            raise AuthorityError(f"{folder} holds a certificate authority that cannot be read: remove it.") from None
        soon = datetime.now(UTC) + timedelta(days=_RENEW_DAYS)
        if isinstance(key, ec.EllipticCurvePrivateKey) and certificate.not_valid_after_utc > soon:
            return certificate, key
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _authority_certificate(key)
    _write_private(key_path, _pem(key))
    certificate_path.write_bytes(certificate.public_bytes(Encoding.PEM))
    return certificate, key


def _authority_certificate(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    """It may sign for this machine and for nothing else, whoever gets hold of its key."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "local-azure development CA")])
    now = datetime.now(UTC)
    permitted: list[x509.GeneralName] = [x509.DNSName(host) for host in _HOSTS]
    permitted += [x509.IPAddress(ipaddress.ip_network(address)) for address in _ADDRESSES]
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + timedelta(days=_AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.NameConstraints(permitted, None), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, SHA256())
    )


def _server_certificate(
    authority: x509.Certificate, authority_key: ec.EllipticCurvePrivateKey, public_key: ec.EllipticCurvePublicKey
) -> x509.Certificate:
    now = datetime.now(UTC)
    names: list[x509.GeneralName] = [x509.DNSName(host) for host in _SERVED]
    names += [x509.IPAddress(ipaddress.ip_address(address)) for address in _ADDRESSES]
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _HOSTS[0])]))
        .issuer_name(authority.subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + timedelta(days=_SERVER_DAYS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, SHA256())
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _write_private(path: Path, data: bytes) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as sink:
        sink.write(data)
    os.replace(partial, path)
