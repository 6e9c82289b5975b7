"""HTTP message signatures (RFC 9421) of requests, with Content-Digest (RFC 9530): making them, and checking them."""

from .algorithms import ALGORITHMS, Algorithm
from .components import SignedRequest
from .digests import content_digest
from .errors import SignatureRefused
from .signing import Signer
from .verifying import Policy, verify

__all__ = [
    "ALGORITHMS",
    "Algorithm",
    "Policy",
    "SignatureRefused",
    "SignedRequest",
    "Signer",
    "content_digest",
    "verify",
]
