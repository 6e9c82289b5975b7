"""Claims: bound to message and content, and never given for a payload that isn't there."""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

import pytest
from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.storage.blob.aio import ContainerClient
from hypothesis import given
from hypothesis import strategies as st

from shared.claim_check import Claim, ClaimStore


class Container:
    """A container of the SDK that answers as it is told."""

    def __init__(self, *answers: Exception | None) -> None:
        self.answers = list(answers)
        self.made = 0

    async def upload_blob(self, *_: Any, **__: Any) -> None:
        """The next answer."""
        answer = self.answers.pop(0)
        if answer is not None:
            raise answer

    async def create_container(self) -> None:
        """Counted."""
        self.made += 1


def conflict(code: str) -> ResourceExistsError:
    """409 with the service's reason."""
    error = ResourceExistsError(code)
    error.error_code = code  # type: ignore[attr-defined]
    return error


def store(container: Container) -> ClaimStore:
    """A store on the container."""
    return ClaimStore(cast("ContainerClient", container))


@given(st.uuids(), st.uuids(), st.binary(), st.binary())
def test_a_claim_is_bound_to_its_message_and_payload(one: UUID, other: UUID, payload: bytes, changed: bytes) -> None:
    """The same for the same, another for anything else; its name is a plain path of a blob."""
    claim = Claim.of(one, payload)
    assert claim == Claim.of(one, payload)
    assert (claim == Claim.of(other, payload)) == (one == other)
    assert (claim == Claim.of(one, changed)) == (payload == changed)
    assert claim.size == len(payload)
    assert claim.name == f"{one}/{claim.sha256}"


async def test_a_payload_that_is_there_already_is_claimed() -> None:
    """A sender that tries again uploads nothing."""
    payload = b"payload"
    assert await store(Container(conflict("BlobAlreadyExists"))).put(UUID(int=1), payload) == Claim.of(
        UUID(int=1), payload
    )


@pytest.mark.parametrize("code", ["ContainerBeingDeleted", "LeaseIdMissing", ""])
async def test_another_conflict_is_no_payload(code: str) -> None:
    """The message must not be accepted: its payload isn't kept."""
    with pytest.raises(ResourceExistsError):
        await store(Container(conflict(code))).put(UUID(int=1), b"payload")


async def test_a_missing_container_is_made_once() -> None:
    """And where it can't be, storage's own error says so, which is worth another try."""
    container = Container(ResourceNotFoundError("x"), None)
    await store(container).put(UUID(int=1), b"payload")
    assert container.made == 1
    with pytest.raises(ResourceNotFoundError):
        await store(Container(ResourceNotFoundError("x"), ResourceNotFoundError("x"))).put(UUID(int=1), b"payload")
