"""Uploads: payloads over the limit of a body, through the app or straight to the storage."""

from uuid import uuid4

from functions.uploads import MOST_BLOCKS, UploadEndpoints
from shared.blobs import Links, StagedBlobs
from shared.claim_check import Uploads

from .capability import Capability
from .claims import CLAIMS
from .composition import Composition
from .declaring import Access, ClaimAccount, Need
from .operations import operation_signer
from .platform import platform

__all__ = ["capability", "upload_endpoints", "uploads"]


def uploads(composition: Composition) -> Uploads:
    """Where uploads wait for their messages: beside the claims."""
    settings = composition.settings
    services = composition.get(platform)
    links = Links(services.blob_service) if settings.upload_links else None
    container = services.container(settings.claim_container)
    return composition.closing(
        Uploads(StagedBlobs(container, largest=MOST_BLOCKS * settings.max_body_bytes, links=links))
    )


def upload_endpoints(composition: Composition) -> UploadEndpoints:
    """What opens, fills and reads them."""
    settings = composition.settings
    return UploadEndpoints(
        lambda: composition.get(uploads),
        composition.get(operation_signer),
        block=settings.max_body_bytes,
        keeps=not settings.encrypts_claims,
        public_path=settings.public_path,
        now=composition.now,
        new_id=uuid4,
    )


def capability(composition: Composition) -> Capability:
    """Routes; what no message names is swept with the claims."""
    return Capability(
        name="uploads",
        routes=composition.get(upload_endpoints).routes(),
        needs=[
            Need(access=Access.WRITE, to=CLAIMS, why="Keeps uploads until their messages name them."),
            Need(
                access=Access.DELEGATE,
                to=ClaimAccount(),
                why="Signs links with which callers upload straight to the storage.",
                when="SLUICE_UPLOAD_LINKS=true",
            ),
        ],
    )
