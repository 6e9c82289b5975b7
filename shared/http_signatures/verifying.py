"""Checks the signatures of a request (RFC 9421, 3.2). No I/O."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from .algorithms import ALGORITHMS, verified
from .components import SignedRequest, component, covers, signature_base
from .digests import check_digest
from .errors import SignatureRefused
from .structured_fields import InnerList, Item, parse_dictionary

__all__ = ["Policy", "verify"]

MOST_SIGNATURES = 8
_KNOWN = frozenset({"created", "expires", "nonce", "alg", "keyid", "tag"})


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What a signature has to have so that it counts.

    Attributes
    ----------
    algorithm:
        The one that was agreed with the sender; a signature that names another is refused.
    required:
        Components that it covers, and maybe more. Without `content-digest` it would say nothing about the body.
    tolerance:
        Seconds that its time may be off, and that it counts for.
    key_id, tag:
        What it must name, where that was agreed; of signatures with another tag nothing is read.
    nonce:
        Whether it must have one.
    """

    algorithm: str = "ed25519"
    required: tuple[str, ...] = ("@method", "@target-uri", "content-digest")
    tolerance: float = 300.0
    key_id: str = ""
    tag: str = ""
    nonce: bool = False

    def __post_init__(self) -> None:
        if self.algorithm not in ALGORITHMS:
            raise ValueError(f"the algorithm {self.algorithm!r} is none of {', '.join(ALGORITHMS)}")
        if "content-digest" not in self.required:
            raise ValueError("what isn't signed with its body proves nothing: require content-digest")


def verify(request: SignedRequest, secrets: Sequence[str], policy: Policy, *, now: datetime) -> str:
    """Return the label of a signature that meets the policy and is of one of the keys, the body being as signed.

    Raises
    ------
    SignatureRefused
        There is none; the text says why the last of them doesn't count.
    ValueError
        A secret isn't a key of the algorithm.
    """
    inputs = parse_dictionary(request.headers.get("signature-input", ""))
    signatures = parse_dictionary(request.headers.get("signature", ""))
    if inputs.keys() != signatures.keys() or not 1 <= len(inputs) <= MOST_SIGNATURES:
        raise SignatureRefused("Signature and Signature-Input are missing, don't fit, or are too many")
    reason = SignatureRefused(f"no signature has the tag {policy.tag}")
    for label, covered in inputs.items():
        signature = signatures[label]
        if policy.tag and (not isinstance(covered, InnerList) or covered.parameters.get("tag") != policy.tag):
            continue
        try:
            _check(request, covered, signature, secrets, policy, now.timestamp())
        except SignatureRefused as error:
            reason = error
        else:
            return label
    raise reason


def _check(
    request: SignedRequest,
    covered: Item | InnerList,
    signature: Item | InnerList,
    secrets: Sequence[str],
    policy: Policy,
    now: float,
) -> None:
    value = signature.value if isinstance(signature, Item) else None
    if not isinstance(covered, InnerList) or not isinstance(value, bytes):
        raise SignatureRefused("a signature isn't written as one")
    _check_parameters(covered, policy, now)
    if not covers(covered, [component(one) for one in policy.required]):
        raise SignatureRefused("the signature doesn't cover what it must")
    base = signature_base(request, covered)
    found = False
    for secret in secrets:  # all of them, so that the time says nothing
        found |= verified(policy.algorithm, secret, value, base)
    if not found:
        raise SignatureRefused("no key has signed it")
    check_digest(request.headers["content-digest"], request.body)


def _check_parameters(covered: InnerList, policy: Policy, now: float) -> None:
    given = covered.parameters
    if unknown := set(given) - _KNOWN:
        raise SignatureRefused(f"the signature has the parameter {min(unknown)[:64]}, which isn't known")
    created, expires = given.get("created"), given.get("expires")
    if type(created) is not int or (expires is not None and type(expires) is not int):
        raise SignatureRefused("the signature doesn't say when it was made")
    if abs(now - created) > policy.tolerance:
        raise SignatureRefused("it was signed too long ago, or will be")
    if type(expires) is int and expires < now:
        raise SignatureRefused("the signature has expired")
    if given.get("alg", policy.algorithm) != policy.algorithm:
        raise SignatureRefused("the signature names another algorithm")
    if policy.key_id and given.get("keyid") != policy.key_id:
        raise SignatureRefused("the signature names another key")
    if policy.nonce and not (isinstance(given.get("nonce"), str) and given["nonce"]):
        raise SignatureRefused("the signature has no nonce")
