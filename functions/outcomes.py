"""What became of one request, from the inbox record of its message id: several requests may have come under one id."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.http import Submission
from shared.messages import ErrorCode, PayloadHash

__all__ = ["ACCEPTED", "CONFLICT", "Became", "became"]

_STATUS = {"done": "succeeded", "dead": "failed"}
"""Inbox status → what an operation says; not there, or open again for a replay, is accepted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Became:
    """Status of an operation, why it failed, and whether another request had brought the same message before."""

    status: str
    code: str = ""
    reason: str = ""
    duplicate: bool = False

    def columns(self) -> dict[str, Any]:
        """What an answer says beside its status."""
        found: dict[str, Any] = {"duplicate": True} if self.duplicate else {}
        if self.status == "failed":
            found["error"] = {"code": self.code, "message": self.reason, "details": {}}
        return found


ACCEPTED = Became(status="accepted")
CONFLICT = Became(
    status="failed",
    code=ErrorCode.MESSAGE_ID_CONFLICT,
    reason="This message id was used before for another payload; a new message needs a new id.",
)


def became(
    row: Mapping[str, Any], submission: Submission | None, hashes: Sequence[PayloadHash], *, own: bool
) -> Became:
    """What became of a request.

    Parameters
    ----------
    submission:
        What it submitted; None where its address doesn't say, as those of earlier releases.
    hashes:
        Its payload's hash in every form in which the record may have it.
    own:
        Whether the asking client may read the record: the reason of a failure may quote what another one sent.
    """
    known = bool(row.get("payloadSha256") or row.get("payloadHash"))
    own_request = submission is not None and row.get("request") == submission.request
    if submission is not None and known and not own_request and not any(one.is_in(row) for one in hashes):
        return CONFLICT  # of its own request another payload is what an operator edited
    duplicate = submission is not None and row.get("request", submission.request) != submission.request
    status = _STATUS.get(row["status"], "accepted")
    if status != "failed":
        return Became(status=status, duplicate=duplicate)
    reason = str(row.get("reason", "")) if own else "The same message was refused before."
    return Became(status=status, code=str(row.get("code", "")), reason=reason, duplicate=duplicate)
