"""The algorithms of RFC 9421, 3.3, and how a vault's secret is read as a key of theirs.

`cryptography` is loaded with the first key.
"""

import base64
import binascii
import hmac
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA

__all__ = ["ALGORITHMS", "Algorithm", "load", "sign", "verified"]

Algorithm = Literal[
    "ed25519", "ecdsa-p256-sha256", "ecdsa-p384-sha384", "rsa-pss-sha512", "rsa-v1_5-sha256", "hmac-sha256"
]
ALGORITHMS: tuple[str, ...] = get_args(Algorithm)
_SMALLEST_RSA = 2_048
_ED25519_BYTES = 32


def sign(algorithm: str, secret: str, content: bytes) -> bytes:
    """A signature with a private key in PEM; for `hmac-sha256` the key in Base64, for `ed25519` also its 32 bytes.

    Raises
    ------
    ValueError
        The secret isn't such a key; the text doesn't say what it is.
    """
    if algorithm == "hmac-sha256":
        return hmac.digest(_shared(secret), content, "sha256")
    key = _private(algorithm, secret)
    return _SIGN[algorithm](key, content)


def load(algorithm: str, secret: str) -> None:
    """Read a private key, which takes up to half a second: the signatures that follow have it at hand.

    Raises
    ------
    ValueError
        The secret isn't such a key.
    """
    if algorithm == "hmac-sha256":
        _shared(secret)
    else:
        _private(algorithm, secret)


def verified(algorithm: str, secret: str, signature: bytes, content: bytes) -> bool:
    """Whether a signature is of this key: a public one in PEM or Base64, for `hmac-sha256` the key in Base64.

    Raises
    ------
    ValueError
        The secret isn't such a key.
    """
    if algorithm == "hmac-sha256":
        return hmac.compare_digest(hmac.digest(_shared(secret), content, "sha256"), signature)
    from cryptography.exceptions import InvalidSignature

    key = _public(algorithm, secret)
    try:
        _VERIFY[algorithm](key, signature, content)
    except InvalidSignature:
        return False
    return True


def _shared(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.strip(), validate=True)
    except (ValueError, binascii.Error):
        raise ValueError("a shared key isn't written in Base64") from None
    if not key:
        raise ValueError("a secret is empty")
    return key


@lru_cache(maxsize=16)
def _private(algorithm: str, secret: str) -> Any:
    """Kept once it was read: OpenSSL checks an RSA key for as long as 100 signatures take."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        if algorithm == "ed25519" and "-----" not in secret:
            return Ed25519PrivateKey.from_private_bytes(base64.b64decode(secret.strip(), validate=True))
        key = load_pem_private_key(secret.encode(), None)
    except (ValueError, TypeError, binascii.Error, UnsupportedAlgorithm):
        raise ValueError(f"a private key isn't one of {algorithm}") from None
    _check_fit(algorithm, key.public_key())
    return key


@lru_cache(maxsize=64)
def _public(algorithm: str, secret: str) -> Any:
    """Kept once it was read, which takes longer than a signature of Ed25519; it is no secret to anybody."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key

    try:
        if "-----" in secret:
            key: Any = load_pem_public_key(secret.encode())
        else:
            raw = base64.b64decode(secret.strip(), validate=True)
            bare = algorithm == "ed25519" and len(raw) == _ED25519_BYTES
            key = Ed25519PublicKey.from_public_bytes(raw) if bare else load_der_public_key(raw)
    except (ValueError, TypeError, binascii.Error, UnsupportedAlgorithm):
        raise ValueError(f"a public key isn't one of {algorithm}") from None
    _check_fit(algorithm, key)
    return key


def _check_fit(algorithm: str, key: Any) -> None:
    """A key of another kind than the one that was agreed is refused, whatever it could verify."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    fits = {
        "ed25519": lambda: isinstance(key, ed25519.Ed25519PublicKey),
        "ecdsa-p256-sha256": lambda: isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == "secp256r1",
        "ecdsa-p384-sha384": lambda: isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == "secp384r1",
        "rsa-pss-sha512": lambda: isinstance(key, rsa.RSAPublicKey) and key.key_size >= _SMALLEST_RSA,
        "rsa-v1_5-sha256": lambda: isinstance(key, rsa.RSAPublicKey) and key.key_size >= _SMALLEST_RSA,
    }
    if not fits[algorithm]():
        raise ValueError(f"a key isn't one of {algorithm}, or is too short")


def _pss(*, sign: bool) -> tuple[Any, Any]:
    """The RFC's salt has 64 bytes; Node's signers take the longest that fits, which is as good, so any is verified."""
    from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
    from cryptography.hazmat.primitives.hashes import SHA512

    return PSS(MGF1(SHA512()), salt_length=64 if sign else PSS.AUTO), SHA512()


def _pkcs1() -> tuple[Any, Any]:
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA256

    return PKCS1v15(), SHA256()


def _ecdsa(bits: int) -> "ECDSA":
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.hashes import SHA256, SHA384

    return ECDSA(SHA256() if bits == 256 else SHA384())


def _ecdsa_sign(bits: int) -> Callable[[Any, bytes], bytes]:
    def make(key: Any, content: bytes) -> bytes:
        from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

        return b"".join(number.to_bytes(bits // 8) for number in decode_dss_signature(key.sign(content, _ecdsa(bits))))

    return make


def _ecdsa_verify(bits: int) -> Callable[[Any, bytes, bytes], None]:
    def check(key: Any, signature: bytes, content: bytes) -> None:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

        size = bits // 8
        if len(signature) != 2 * size:
            raise InvalidSignature
        numbers = (int.from_bytes(signature[:size]), int.from_bytes(signature[size:]))
        key.verify(encode_dss_signature(*numbers), content, _ecdsa(bits))

    return check


_SIGN: Mapping[str, Callable[[Any, bytes], bytes]] = {
    "ed25519": lambda key, content: bytes(key.sign(content)),
    "ecdsa-p256-sha256": _ecdsa_sign(256),
    "ecdsa-p384-sha384": _ecdsa_sign(384),
    "rsa-pss-sha512": lambda key, content: bytes(key.sign(content, *_pss(sign=True))),
    "rsa-v1_5-sha256": lambda key, content: bytes(key.sign(content, *_pkcs1())),
}
_VERIFY: Mapping[str, Callable[[Any, bytes, bytes], None]] = {
    "ed25519": lambda key, signature, content: key.verify(signature, content),
    "ecdsa-p256-sha256": _ecdsa_verify(256),
    "ecdsa-p384-sha384": _ecdsa_verify(384),
    "rsa-pss-sha512": lambda key, signature, content: key.verify(signature, content, *_pss(sign=False)),
    "rsa-v1_5-sha256": lambda key, signature, content: key.verify(signature, content, *_pkcs1()),
}
