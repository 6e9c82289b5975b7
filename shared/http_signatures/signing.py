"""Signs a request (RFC 9421, 3.1). No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from .algorithms import ALGORITHMS, load, sign
from .components import SignedRequest, component, signature_base
from .digests import content_digest
from .structured_fields import InnerList, Item, serialize

__all__ = ["Signer"]


@dataclass(frozen=True, kw_only=True)
class Signer:
    """How requests are signed.

    Attributes
    ----------
    covered:
        Components: names, or identifiers with parameters as they are written in `Signature-Input`.
    expires:
        Seconds for which a signature counts; 0 says nothing.
    tag:
        What the signatures are for, where the other side has agreed on a name.
    """

    algorithm: str = "ed25519"
    covered: tuple[str, ...] = ("@method", "@target-uri", "content-digest")
    key_id: str = ""
    tag: str = ""
    expires: int = 0
    label: str = "sig1"

    def __post_init__(self) -> None:
        if self.algorithm not in ALGORITHMS:
            raise ValueError(f"the algorithm {self.algorithm!r} is none of {', '.join(ALGORITHMS)}")
        if "content-digest" not in self.covered:
            raise ValueError("what isn't signed with its body proves nothing: cover content-digest")

    def load(self, secret: str) -> None:
        """Read a key before it is signed with: of RSA that takes up to half a second, so not on an event loop.

        Raises
        ------
        ValueError
            The secret isn't a key of the algorithm.
        """
        load(self.algorithm, secret)

    def sign(self, request: SignedRequest, secret: str, *, now: datetime, nonce: str = "") -> Mapping[str, str]:
        """The headers to add: `Content-Digest`, `Signature-Input` and `Signature`.

        Raises
        ------
        ValueError
            The secret isn't a key of the algorithm.
        SignatureRefused
            The request doesn't have what is to be covered.
        """
        digest = content_digest(request.body)
        complete = replace(request, headers={**request.headers, "content-digest": digest})
        created = int(now.timestamp())
        parameters: dict[str, str | int | bytes | bool] = {"created": created}
        if self.expires:
            parameters["expires"] = created + self.expires
        parameters |= {name: value for name, value in self._texts(nonce).items() if value}
        covered = InnerList(tuple(component(one) for one in self.covered), parameters)
        signature = sign(self.algorithm, secret, signature_base(complete, covered))
        return {
            "Content-Digest": digest,
            "Signature-Input": f"{self.label}={serialize(covered)}",
            "Signature": f"{self.label}={serialize(Item(signature))}",
        }

    def _texts(self, nonce: str) -> dict[str, str]:
        return {"nonce": nonce, "keyid": self.key_id, "alg": self.algorithm, "tag": self.tag}
