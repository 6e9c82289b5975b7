"""RSA keys as the vault keeps, shows and uses them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import (
    RSAPrivateKey,
    RSAPrivateNumbers,
    RSAPublicNumbers,
    generate_private_key,
    rsa_crt_dmp1,
    rsa_crt_dmq1,
    rsa_crt_iqmp,
    rsa_recover_prime_factors,
)
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, SHA384, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from local_azure.keyvault.errors import bad_parameter

__all__ = [
    "SIZES",
    "decrypt",
    "encrypt",
    "export_jwk",
    "from_base64url",
    "generate",
    "import_jwk",
    "sign",
    "to_base64url",
    "verify",
]

SIZES: Final = (2048, 3072, 4096)
"""Bits the service makes and imports."""

_EXPONENT: Final = 65_537
_DIGESTS: Final[Mapping[str, HashAlgorithm]] = {"256": SHA256(), "384": SHA384(), "512": SHA512()}


def generate(size: int) -> str:
    """A new private key in PEM; it takes a tenth of a second and more."""
    return _to_pem(generate_private_key(_EXPONENT, size))


def export_jwk(pem: str) -> dict[str, str]:
    """The public half: `n` and `e`."""
    numbers = _load(pem).public_key().public_numbers()
    return {"kty": "RSA", "n": _from_int(numbers.n), "e": _from_int(numbers.e)}


def import_jwk(jwk: dict[str, Any]) -> str:
    """The private key in PEM that a JWK (RFC 7518, section 6.3) holds.

    Raises
    ------
    VaultError
        400, if it holds none, or one of another size.
    """
    try:
        n, e, d = (_to_int(jwk[name]) for name in ("n", "e", "d"))
        if n.bit_length() not in SIZES:
            raise bad_parameter(f"A key has one of {', '.join(map(str, SIZES))} bits.")
        if max(e, d) >= n:  # looking for its factors would take long
            raise ValueError
        p, q = rsa_recover_prime_factors(n, e, d)
        numbers = RSAPrivateNumbers(
            p=p,
            q=q,
            d=d,
            dmp1=rsa_crt_dmp1(d, p),
            dmq1=rsa_crt_dmq1(d, q),
            iqmp=rsa_crt_iqmp(p, q),
            public_numbers=RSAPublicNumbers(e, n),
        )
        return _to_pem(numbers.private_key())
    except (KeyError, ValueError, TypeError):
        raise bad_parameter("key must be a private RSA key as a JWK.") from None


def encrypt(pem: str, algorithm: str, plaintext: bytes) -> bytes:
    """The bytes encrypted with the public half.

    Raises
    ------
    VaultError
        400, for another algorithm or too long a text.
    """
    try:
        return _load(pem).public_key().encrypt(plaintext, _padding(algorithm))
    except ValueError:
        raise bad_parameter("The value is too long for the key.") from None


def decrypt(pem: str, algorithm: str, ciphertext: bytes) -> bytes:
    """The bytes that `encrypt` was given.

    Raises
    ------
    VaultError
        400, if these bytes were not encrypted with this key and algorithm.
    """
    try:
        return _load(pem).decrypt(ciphertext, _padding(algorithm))
    except ValueError:
        raise bad_parameter("The value cannot be decrypted with this key.") from None


def sign(pem: str, algorithm: str, digest: bytes) -> bytes:
    """The signature of a digest that the client made.

    Raises
    ------
    VaultError
        400, for another algorithm or a digest of another length.
    """
    return _load(pem).sign(digest, *_signing(algorithm, digest))


def verify(pem: str, algorithm: str, digest: bytes, signature: bytes) -> bool:
    """Whether `sign` gave this signature, or another that is as good.

    Raises
    ------
    VaultError
        400, for another algorithm or a digest of another length.
    """
    try:
        _load(pem).public_key().verify(signature, digest, *_signing(algorithm, digest))
    except InvalidSignature:
        return False
    return True


def to_base64url(data: bytes) -> str:
    """Without padding, as in RFC 7515."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def from_base64url(text: object) -> bytes:
    """The bytes of a text, with or without padding.

    Raises
    ------
    VaultError
        400, if it is no such text.
    """
    try:
        if not isinstance(text, str):
            raise TypeError
        return base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise bad_parameter("A value must be base64url.") from None


def _padding(algorithm: str) -> padding.OAEP:
    if algorithm == "RSA-OAEP-256":
        return padding.OAEP(padding.MGF1(SHA256()), SHA256(), None)
    if algorithm == "RSA-OAEP":
        return padding.OAEP(padding.MGF1(SHA1()), SHA1(), None)  # noqa: S303 - the algorithm's definition
    raise bad_parameter("alg must be RSA-OAEP-256 or RSA-OAEP.")


def _signing(algorithm: str, digest: bytes) -> tuple[padding.PKCS1v15 | padding.PSS, Prehashed]:
    """How RFC 7518 (sections 3.3 and 3.5) signs: the salt is as long as the digest."""
    family, found = algorithm[:2], _DIGESTS.get(algorithm[2:])
    if family not in ("RS", "PS") or found is None:
        raise bad_parameter(f"alg must be RS or PS with one of {', '.join(_DIGESTS)}.")
    if len(digest) != found.digest_size:
        raise bad_parameter(f"A digest for {algorithm} has {found.digest_size} bytes.")
    scheme = padding.PKCS1v15() if family == "RS" else padding.PSS(padding.MGF1(found), found.digest_size)
    return scheme, Prehashed(found)


def _load(pem: str) -> RSAPrivateKey:
    key = load_pem_private_key(pem.encode("ascii"), None)
    assert isinstance(key, RSAPrivateKey)
    return key


def _to_pem(key: RSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")


def _to_int(text: object) -> int:
    return int.from_bytes(from_base64url(text), "big")


def _from_int(number: int) -> str:
    return to_base64url(number.to_bytes((number.bit_length() + 7) // 8, "big"))
