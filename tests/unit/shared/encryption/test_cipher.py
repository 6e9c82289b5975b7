"""Encryption and decryption: published vectors, and everything that must be refused."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.encryption import (
    DataKey,
    ProtectionError,
    Tampered,
    Truncated,
    UnknownKey,
    WrongVersion,
    decrypt,
    encrypt,
    encrypt_text,
    key_id_of,
)
from shared.encryption.cipher import decrypt_text
from shared.messages import Category, ErrorCode
from shared.processing import classify

KEY = DataKey("d1", bytes(range(32)))
OTHER = DataKey("d2", bytes(range(1, 33)))

K = "feffe9928665731c6d6a8f9467308308" * 2
P = (
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
    "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255"
)
C = (
    "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
    "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad"
)
IV = "cafebabefacedbaddecaf888"
A = "feedfacedeadbeeffeedfacedeadbeefabaddad2"
VECTORS = [
    ("00" * 32, "00" * 12, "", "", "", "530f8afbc74536b9a963b4f1c4cb738b"),
    ("00" * 32, "00" * 12, "00" * 16, "", "cea7403d4d606b6e074ec5d3baf39d18", "d0d1c8a799996bf0265b98b5d48ab919"),
    (K, IV, P, "", C, "b094dac5d93471bdec1a502270e3cc6c"),
    (K, IV, P[:120], A, C[:120], "76fc6ece0f4e1768cddf8853bb2d551b"),
]
"""Test cases 13 to 16 of McGrew and Viega, "The Galois/Counter Mode of Operation (GCM)", appendix B: AES-256."""


@pytest.mark.parametrize(("key", "nonce", "plaintext", "aad", "ciphertext", "tag"), VECTORS)
def test_the_cipher_is_the_published_one(
    key: str, nonce: str, plaintext: str, aad: str, ciphertext: str, tag: str
) -> None:
    """What a data key encrypts is what the authors of GCM say."""
    cipher = DataKey("d1", bytes.fromhex(key)).aead
    found = cipher.encrypt(bytes.fromhex(nonce), bytes.fromhex(plaintext), bytes.fromhex(aad))
    assert found.hex() == ciphertext + tag


@given(st.binary(max_size=3_000), st.binary(max_size=200))
def test_the_format_is_header_nonce_ciphertext_and_tag(plaintext: bytes, aad: bytes) -> None:
    """As the module says, with header and additional data authenticated together."""
    encrypted = encrypt(KEY, plaintext, aad=aad)
    header, nonce, rest = encrypted[:7], encrypted[7:19], encrypted[19:]
    assert header == b"SLP\x01\x02d1"
    assert KEY.aead.decrypt(nonce, rest, header + aad) == plaintext
    assert decrypt(KEY, encrypted, aad=aad) == plaintext
    assert key_id_of(encrypted) == "d1"


@given(st.binary(max_size=200), st.data())
def test_no_flipped_bit_goes_unseen(plaintext: bytes, data: st.DataObject) -> None:
    """Neither in the header nor in nonce, ciphertext or tag."""
    encrypted = bytearray(encrypt(KEY, plaintext, aad=b"place"))
    bit = data.draw(st.integers(0, 8 * len(encrypted) - 1))
    encrypted[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ProtectionError):
        decrypt(KEY, bytes(encrypted), aad=b"place")


@given(st.binary(max_size=200), st.data())
def test_no_truncation_goes_unseen(plaintext: bytes, data: st.DataObject) -> None:
    """Nor is anything added unseen."""
    encrypted = encrypt(KEY, plaintext, aad=b"place")
    cut = data.draw(st.integers(0, len(encrypted) - 1))
    with pytest.raises(ProtectionError):
        decrypt(KEY, encrypted[:cut], aad=b"place")
    with pytest.raises(Tampered):
        decrypt(KEY, encrypted + b"\0", aad=b"place")


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_with_one_tree_of_errors(data: bytes) -> None:
    """Whatever a hostile sender makes up, with the magic before it and without."""
    for encrypted in (data, b"SLP\x01" + data, b"SLP\x01\x02d1" + data):
        with pytest.raises(ProtectionError):
            decrypt(KEY, encrypted, aad=b"")
        try:
            assert key_id_of(encrypted)
        except ProtectionError:
            continue


def test_what_is_wrong_is_told_apart() -> None:
    """Another key, another place, another header, another version, a part."""
    encrypted = encrypt(KEY, b"plain", aad=b"place")
    with pytest.raises(UnknownKey):
        decrypt(OTHER, encrypted, aad=b"place")
    with pytest.raises(Tampered):
        decrypt(KEY, encrypted, aad=b"elsewhere")
    with pytest.raises(Tampered):
        decrypt(OTHER, OTHER.header + encrypted[len(KEY.header) :], aad=b"place")
    with pytest.raises(WrongVersion):
        decrypt(KEY, b"SLP\x02" + encrypted[4:], aad=b"place")
    with pytest.raises(WrongVersion):
        decrypt(KEY, b'{"orderId": "1"}', aad=b"place")
    with pytest.raises(Truncated):
        decrypt(KEY, encrypted[:20], aad=b"place")
    with pytest.raises(Truncated):
        decrypt(KEY, b"", aad=b"place")


def test_header_and_additional_data_have_one_border() -> None:
    """What the header loses, additional data can't replace."""
    longer = DataKey("d1x", bytes(range(32)))
    encrypted = encrypt(longer, b"plain", aad=b"place")
    shorter = b"SLP\x01\x02d1" + encrypted[len(longer.header) :]
    with pytest.raises(Tampered):
        decrypt(KEY, shorter, aad=b"xplace")


def test_every_message_has_a_nonce_of_its_own() -> None:
    """Under one key, for the same bytes."""
    nonces = {encrypt(KEY, b"same", aad=b"place")[7:19] for _ in range(20_000)}
    assert len(nonces) == 20_000


@given(st.text(max_size=100), st.data())
def test_the_text_form_has_one_spelling(text: str, data: st.DataObject) -> None:
    """Any changed character is refused, also where base64 would read the same bytes from it."""
    encrypted = encrypt_text(KEY, text, aad=b"place")
    assert encrypted.startswith("slp1.")
    assert decrypt_text(KEY, encrypted, aad=b"place") == text
    place = data.draw(st.integers(0, len(encrypted) - 1))
    other = data.draw(st.sampled_from("ABab01-_=. \n").filter(lambda character: character != encrypted[place]))
    with pytest.raises(ProtectionError):
        decrypt_text(KEY, encrypted[:place] + other + encrypted[place + 1 :], aad=b"place")


def test_an_error_is_permanent_has_a_code_and_tells_nothing() -> None:
    """Neither plaintext nor key bytes."""
    encrypted = encrypt(KEY, b"hunter2", aad=b"place")
    with pytest.raises(Tampered) as caught:
        decrypt(KEY, encrypted, aad=b"elsewhere")
    failure = classify(caught.value)
    assert failure.category is Category.PERMANENT
    assert failure.code == ErrorCode.UNREADABLE
    told = f"{caught.value!r} {failure}"
    assert "hunter2" not in told
    assert KEY.__repr__() == "DataKey('d1')"


@pytest.mark.parametrize(("key_id", "secret"), [("", b"k" * 32), ("a b", b"k" * 32), ("d1", b"k" * 16)])
def test_a_key_is_checked_when_it_is_made(key_id: str, secret: bytes) -> None:
    """A name that travels well, 32 bytes."""
    with pytest.raises(ValueError, match="key"):
        DataKey(key_id, secret)


def test_a_key_is_not_pickled() -> None:
    """It would leave the process."""
    with pytest.raises(TypeError):
        pickle.dumps(KEY)
