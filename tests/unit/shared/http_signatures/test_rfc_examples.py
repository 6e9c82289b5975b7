"""The examples of RFC 9421: keys of B.1, signatures of 4.3 and B.2; a response's (B.2.4) is none of a request."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.http_signatures import SignatureRefused, SignedRequest
from shared.http_signatures.algorithms import sign, verified
from shared.http_signatures.components import signature_base
from shared.http_signatures.digests import check_digest
from shared.http_signatures.structured_fields import InnerList, Item, parse_dictionary

RSA = """-----BEGIN RSA PUBLIC KEY-----
MIIBCgKCAQEAhAKYdtoeoy8zcAcR874L8cnZxKzAGwd7v36APp7Pv6Q2jdsPBRrw
WEBnez6d0UDKDwGbc6nxfEXAy5mbhgajzrw3MOEt8uA5txSKobBpKDeBLOsdJKFq
MGmXCQvEG7YemcxDTRPxAleIAgYYRjTSd/QBwVW9OwNFhekro3RtlinV0a75jfZg
kne/YiktSvLG34lw2zqXBDTC5NHROUqGTlML4PlNZS5Ri2U4aCNx2rUPRcKIlE0P
uKxI4T+HIaFpv8+rdV6eUgOrB2xeI1dSFFn/nnv5OoZJEIB+VmuKn3DCUcCZSFlQ
PSXSfBDiUGhwOw76WuSSsf1D4b/vLoJ10wIDAQAB
-----END RSA PUBLIC KEY-----"""
RSA_PSS = """-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAr4tmm3r20Wd/PbqvP1s2
+QEtvpuRaV8Yq40gjUR8y2Rjxa6dpG2GXHbPfvMs8ct+Lh1GH45x28Rw3Ry53mm+
oAXjyQ86OnDkZ5N8lYbggD4O3w6M6pAvLkhk95AndTrifbIFPNU8PPMO7OyrFAHq
gDsznjPFmTOtCEcN2Z1FpWgchwuYLPL+Wokqltd11nqqzi+bJ9cvSKADYdUAAN5W
Utzdpiy6LbTgSxP7ociU4Tn0g5I6aDZJ7A8Lzo0KSyZYoA485mqcO0GVAdVw9lq4
aOT9v6d+nb4bnNkQVklLQ3fVAvJm+xdDOp9LCNCN48V2pnDOkFV6+U9nV5oyc6XI
2wIDAQAB
-----END PUBLIC KEY-----"""
P256 = """-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqIVYZVLCrPZHGHjP17CTW0/+D9Lf
w0EkjqF7xB4FivAxzic30tMM4GF+hR6Dxh71Z50VGGdldkkDXZCnTNnoXQ==
-----END PUBLIC KEY-----"""
ED25519 = "JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs="
ED25519_PRIVATE = "n4Ni+HpISpVObnQMW0wOhCKROaIKqKtW/2ZYb2p9KcU="
SHARED = "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ=="

REQUEST = SignedRequest(
    "POST",
    "https://example.com/foo?param=Value&Pet=dog",
    {
        "host": "example.com",
        "date": "Tue, 20 Apr 2021 02:07:55 GMT",
        "content-type": "application/json",
        "content-digest": "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHW"
        "XvJwew==:",
        "content-length": "18",
    },
    b'{"hello": "world"}',
)
BEHIND_PROXY = replace(
    REQUEST,
    url="https://origin.host.internal.example/foo?param=Value&Pet=dog",
    headers={**REQUEST.headers, "forwarded": "for=192.0.2.123;host=example.com;proto=https"},
)
EXAMPLES = {
    "4.3 sig1": (
        REQUEST,
        "ecdsa-p256-sha256",
        P256,
        '("@method" "@authority" "@path" "content-digest" "content-type" "content-length")'
        ';created=1618884475;keyid="test-key-ecc-p256"',
        "X5spyd6CFnAG5QnDyHfqoSNICd+BUP4LYMz2Q0JXlb//4Ijpzp+kve2w4NIyqeAuM7jTDX+sNalzA8ESSaHD3A==",
    ),
    "4.3 proxy_sig": (
        BEHIND_PROXY,
        "rsa-v1_5-sha256",
        RSA,
        '("@method" "@authority" "@path" "content-digest" "content-type" "content-length" "forwarded")'
        ';created=1618884480;keyid="test-key-rsa";alg="rsa-v1_5-sha256";expires=1618884540',
        "S6ZzPXSdAMOPjN/6KXfXWNO/f7V6cHm7BXYUh3YD/fRad4BCaRZxP+JH+8XY1I6+8Cy+CM5g92iHgxtRPz+MjniOaYmdkDcnL9cCpXJleXsOck"
        "pURl49GwiyUpZ10KHgOEe11sx3G2gxI8S0jnxQB+Pu68U9vVcasqOWAEObtNKKZd8tSFu7LB5YAv0RAGhB8tmpv7sFnIm9y+7X5kXQfi8NMaZa"
        "A8i2ZHwpBdg7a6CMfwnnrtflzvZdXAsD3LH2TwevU+/PBPv0B6NMNk93wUs/vfJvye+YuI87HU38lZHowtznbLVdp770I6VHR6WfgS9ddzirrs"
        "wsE1w5o0LV/g==",
    ),
    "B.2.1": (
        REQUEST,
        "rsa-pss-sha512",
        RSA_PSS,
        '();created=1618884473;keyid="test-key-rsa-pss";nonce="b3k2pp5k7z-50gnwp.yemd"',
        "d2pmTvmbncD3xQm8E9ZV2828BjQWGgiwAaw5bAkgibUopemLJcWDy/lkbbHAve4cRAtx31Iq786U7it++wgGxbtRxf8Udx7zFZsckzXaJMkA7C"
        "hG52eSkFxykJeNqsrWH5S+oxNFlD4dzVuwe8DhTSja8xxbR/Z2cOGdCbzR72rgFWhzx2VjBqJzsPLMIQKhO4DGezXehhWwE56YCE+O6c0mKZsf"
        "xVrogUvA4HELjVKWmAvtl6UnCh8jYzuVG5WSb/QEVPnP5TmcAnLH1g+s++v6d4s8m0gCw1fV5/SITLq9mhho8K3+7EPYTU8IU1bLhdxO5Nyt8C"
        "8ssinQ98Xw9Q==",
    ),
    "B.2.2": (
        REQUEST,
        "rsa-pss-sha512",
        RSA_PSS,
        '("@authority" "content-digest" "@query-param";name="Pet")'
        ';created=1618884473;keyid="test-key-rsa-pss";tag="header-example"',
        "LjbtqUbfmvjj5C5kr1Ugj4PmLYvx9wVjZvD9GsTT4F7GrcQEdJzgI9qHxICagShLRiLMlAJjtq6N4CDfKtjvuJyE5qH7KT8UCMkSowOB4+ECxC"
        "mT8rtAmj/0PIXxi0A0nxKyB09RNrCQibbUjsLS/2YyFYXEu4TRJQzRw1rLEuEfY17SARYhpTlaqwZVtR8NV7+4UKkjqpcAoFqWFQh62s7Cl+H2"
        "fjBSpqfZUJcsIk4N6wiKYd4je2U/lankenQ99PZfB4jY3I5rSV2DSBVkSFsURIjYErOs0tFTQosMTAoxk//0RoKUqiYY8Bh0aaUEb0rQl3/XaV"
        "e4bXTugEjHSw==",
    ),
    "B.2.3": (
        REQUEST,
        "rsa-pss-sha512",
        RSA_PSS,
        '("date" "@method" "@path" "@query" "@authority" "content-type" "content-digest" "content-length")'
        ';created=1618884473;keyid="test-key-rsa-pss"',
        "bbN8oArOxYoyylQQUU6QYwrTuaxLwjAC9fbY2F6SVWvh0yBiMIRGOnMYwZ/5MR6fb0Kh1rIRASVxFkeGt683+qRpRRU5p2voTp768ZrCUb38K0"
        "fUxN0O0iC59DzYx8DFll5GmydPxSmme9v6ULbMFkl+V5B1TP/yPViV7KsLNmvKiLJH1pFkh/aYA2HXXZzNBXmIkoQoLd7YfW91kE9o/CCoC1xM"
        "y7JA1ipwvKvfrs65ldmlu9bpG6A9BmzhuzF8Eim5f8ui9eH8LZH896+QIF61ka39VBrohr9iyMUJpvRX2Zbhl5ZJzSRxpJyoEZAFL2FUo5fTIz"
        "tsDZKEgM4cUA==",
    ),
    "B.2.5": (
        REQUEST,
        "hmac-sha256",
        SHARED,
        '("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret"',
        "pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=",
    ),
    "B.2.6": (
        REQUEST,
        "ed25519",
        ED25519,
        '("date" "@method" "@path" "@authority" "content-type" "content-length")'
        ';created=1618884473;keyid="test-key-ed25519"',
        "wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==",
    ),
}


def covered(text: str) -> InnerList:
    """What `Signature-Input` says of one signature."""
    found = parse_dictionary(f"sig={text}")["sig"]
    assert isinstance(found, InnerList)
    return found


def signature(text: str) -> bytes:
    """The bytes of a signature."""
    found = parse_dictionary(f"sig=:{text}:")["sig"]
    assert isinstance(found, Item)
    assert isinstance(found.value, bytes)
    return found.value


@pytest.mark.parametrize("example", EXAMPLES)
def test_a_signature_of_the_rfc_is_genuine(example: str) -> None:
    """And is none of another request."""
    request, algorithm, key, given, signed = EXAMPLES[example]
    base = signature_base(request, covered(given))
    assert verified(algorithm, key, signature(signed), base)
    assert not verified(algorithm, key, signature(signed), base + b" ")


def test_what_is_signed_without_chance_is_signed_as_in_the_rfc() -> None:
    for example, secret in (("B.2.5", SHARED), ("B.2.6", ED25519_PRIVATE)):
        request, algorithm, _, given, signed = EXAMPLES[example]
        assert sign(algorithm, secret, signature_base(request, covered(given))) == signature(signed)


def test_the_digest_of_the_rfc_is_the_body_s() -> None:
    check_digest(REQUEST.headers["content-digest"], REQUEST.body)
    with pytest.raises(SignatureRefused):
        check_digest(REQUEST.headers["content-digest"], REQUEST.body + b"\n")


@pytest.mark.parametrize(
    ("identifier", "url", "line"),
    [
        ('"@method"', "https://www.example.com/path?param=value", "POST"),
        ('"@target-uri"', "https://www.example.com/path?param=value", "https://www.example.com/path?param=value"),
        ('"@authority"', "https://WWW.example.com:443/path", "www.example.com"),
        ('"@authority"', "http://www.example.com:8080/", "www.example.com:8080"),
        ('"@scheme"', "HTTP://www.example.com/", "http"),
        ('"@request-target"', "https://www.example.com/path?param=value", "/path?param=value"),
        ('"@path"', "https://www.example.com", "/"),
        ('"@query"', "https://www.example.com/path?param=value&foo=bar", "?param=value&foo=bar"),
        ('"@query"', "https://www.example.com/path", "?"),
        ('"@query-param";name="baz"', "https://a.example/?param=value&baz=batman&qux=", "batman"),
        ('"@query-param";name="qux"', "https://a.example/?param=value&baz=batman&qux=", ""),
        (
            '"@query-param";name="var"',
            "https://a.example/?var=this%20is%20a%20big%0Avalue",
            "this%20is%20a%20big%0Avalue",
        ),
        (
            '"@query-param";name="fa%C3%A7ade%22%3A%20"',
            "https://a.example/?fa%C3%A7ade%22%3A%20=something",
            "something",
        ),
        ('"content-digest";key="sha-256"', "https://a.example/", ":AAE=:"),
        ('"x-blank"', "https://a.example/", ""),
    ],
)
def test_components_are_written_as_in_the_rfc(identifier: str, url: str, line: str) -> None:
    """Section 2, with its examples."""
    request = SignedRequest("POST", url, {"content-digest": "sha-256=:AAE=:", "x-blank": "  "}, b"")
    base = signature_base(request, covered(f"({identifier})")).decode()
    assert base == f'{identifier}: {line}\n"@signature-params": ({identifier})'
