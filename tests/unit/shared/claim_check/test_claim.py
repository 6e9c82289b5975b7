"""Claims: bound to message and content, and never given for a payload that isn't there."""

from __future__ import annotations

from typing import Any, Self, cast
from uuid import UUID

import pytest
from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.storage.blob.aio import ContainerClient
from hypothesis import given
from hypothesis import strategies as st

from shared.claim_check import ClaimStore
from tests.unit.memory import claim_of


class Container:
    """A container and its blob of the SDK that answers uploads as it is told; a blob that is there has metadata."""

    def __init__(self, *answers: Exception | None, there: bool = False) -> None:
        self.answers = list(answers)
        self.there = there
        self.made = self.renewed = 0
        self.metadata: dict[str, str] = {}

    def get_blob_client(self, name: str) -> Self:
        """The blob is in the same hands."""
        return self

    async def upload_blob(self, *_: Any, **__: Any) -> None:
        """The next answer; the last one stays."""
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is not None:
            raise answer

    async def get_blob_properties(self) -> Self:
        """Where it is there."""
        if not self.there:
            raise ResourceNotFoundError("BlobNotFound")
        return self

    async def set_blob_metadata(self, metadata: dict[str, str]) -> None:
        """Makes it young."""
        self.renewed += 1

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
    claim = claim_of(one, payload)
    assert claim == claim_of(one, payload)
    assert (claim == claim_of(other, payload)) == (one == other)
    assert (claim == claim_of(one, changed)) == (payload == changed)
    assert claim.name == f"{one}/{claim.sha256}"


async def test_a_new_payloads_claim_says_what_was_given() -> None:
    """Its hash and size are the payload's, however it is stored."""
    claim = await store(Container(None)).put(UUID(int=1), b"payload")
    assert claim == claim_of(UUID(int=1), b"payload")


async def test_a_payload_that_is_there_already_is_claimed_and_kept_longer() -> None:
    """A sender that tries again uploads nothing."""
    container = Container(conflict("BlobAlreadyExists"), there=True)
    assert await store(container).put(UUID(int=1), b"payload") == claim_of(UUID(int=1), b"payload")
    assert container.renewed == 1


@pytest.mark.parametrize("code", ["ContainerBeingDeleted", "LeaseIdMissing", ""])
async def test_another_conflict_is_no_payload(code: str) -> None:
    """The message must not be accepted: its payload isn't kept."""
    with pytest.raises(ResourceExistsError):
        await store(Container(conflict(code))).put(UUID(int=1), b"payload")


async def test_a_missing_container_is_made() -> None:
    """And where it can't be, storage's own error says so, which is worth another try."""
    container = Container(ResourceNotFoundError("x"), None)
    await store(container).put(UUID(int=1), b"payload")
    assert container.made == 1
    with pytest.raises(ResourceNotFoundError):
        await store(Container(ResourceNotFoundError("x"))).put(UUID(int=1), b"payload")
