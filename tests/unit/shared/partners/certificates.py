"""Certificates for servers and clients of this machine."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

__all__ = ["Pair", "authority", "certificate", "pem"]

Pair = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def authority() -> Pair:
    """A certificate authority."""
    return certificate("authority", None)


def certificate(
    name: str, issuer: Pair | None, *, host: str = "127.0.0.1", ends: timedelta = timedelta(hours=1)
) -> Pair:
    """A certificate for a host, by an authority or its own, that ends so long after now."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    named: x509.GeneralName
    try:
        named = x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        named = x509.DNSName(host)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=3))
        .not_valid_after(now + ends)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([named]), critical=False)
    )
    return built.sign(issuer[1] if issuer else key, hashes.SHA256()), key


def pem(pair: Pair) -> str:
    """Certificate and key."""
    private = pair[1].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return (private + pair[0].public_bytes(Encoding.PEM)).decode()
