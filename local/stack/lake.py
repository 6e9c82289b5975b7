"""The lake's container, which the infrastructure makes in Azure: the Delta library makes none."""

from __future__ import annotations

import contextlib

from azure.core.exceptions import ResourceExistsError
from azure.storage.blob.aio import ContainerClient

__all__ = ["make_lake"]

_CONTAINER = "lake"


async def make_lake(connection_string: str) -> None:
    """Make the container unless it is there.

    Raises
    ------
    AzureError
        The account can't be reached.
    """
    async with ContainerClient.from_connection_string(connection_string, _CONTAINER) as container:
        with contextlib.suppress(ResourceExistsError):
            await container.create_container()
