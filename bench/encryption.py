"""What the format, the key's name and a fresh nonce add to the cipher alone."""

import os
import time
from collections.abc import Callable, Iterator

from shared.encryption import DataKey, decrypt, encrypt

from .harness import Benchmark

MESSAGE = os.urandom(1_024)
AAD = b"message\0" + b"0" * 36 + b"\0order.placed"
CALLS = 20_000


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    for _ in range(CALLS):
        call()
    return time.perf_counter() - started


def _rounds(count: int) -> Iterator[float]:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    secret = os.urandom(32)
    key, bare, nonce = DataKey("d1", secret), AESGCM(secret), os.urandom(12)
    ours_text, bare_text = encrypt(key, MESSAGE, aad=AAD), bare.encrypt(nonce, MESSAGE, AAD)
    for _ in range(count):
        theirs = _seconds(lambda: bare.encrypt(nonce, MESSAGE, AAD)) + _seconds(
            lambda: bare.decrypt(nonce, bare_text, AAD)
        )
        ours = _seconds(lambda: encrypt(key, MESSAGE, aad=AAD)) + _seconds(lambda: decrypt(key, ours_text, aad=AAD))
        yield ours / theirs


BENCHMARKS = [
    Benchmark(
        name="seal-1kb",
        claim="encrypting and decrypting 1 KB, divided by AES-256-GCM alone on the same bytes with one nonce for all",
        goal=3.0,
        better="lower",
        rounds=_rounds,
    )
]
