"""The Delta tables of one container, and the threads in which the library's blocking calls run."""

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

from .errors import IncompatibleSchema, LakeError, LakeUnavailable, TableMissing, VersionMissing, named_errors
from .storage import StorageOptions

if TYPE_CHECKING:
    from arro3.core import Schema
    from deltalake import DeltaTable

__all__ = ["LakeStore", "Layer"]

T = TypeVar("T")

_NAME = re.compile(r"[a-z][a-z0-9_]{0,126}")
_SECONDS = 120.0
"""The longest call, below what a job may take."""
_THREADS = 4


class Layer(StrEnum):
    """Where a table lies."""

    SILVER = "silver"
    GOLD = "gold"
    QUARANTINE = "quarantine"


class LakeStore:
    """Opens and makes tables; each is a handle of its own, which serves for minutes.

    A handle is at one version until something is committed on it. Whoever commits uses `Committer`; whoever reads
    opens, and opens again for what came later. Calls of the library block: `run` has them in a thread.

    Parameters
    ----------
    root:
        `az://<container>`, or a folder.
    options:
        What `storage_options` gives.
    threads:
        Calls at once; more wait.
    seconds:
        How long a call may take. What was begun goes on behind that, and may be committed.
    """

    def __init__(
        self, root: str, options: StorageOptions, *, threads: int = _THREADS, seconds: float = _SECONDS
    ) -> None:
        self._root = root.rstrip("/")
        self._options = options
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="lake")
        self._seconds = seconds

    async def open(self, layer: Layer, name: str, *, version: int | datetime | None = None) -> "DeltaTable":
        """A table as it is now, or at a version or moment.

        Raises
        ------
        TableMissing, VersionMissing, LakeUnavailable
        """
        options = await self._options()
        return await self.run(layer, name, self._open, self._address(layer, name), options, version, f"{layer}.{name}")

    async def create(
        self,
        layer: Layer,
        name: str,
        schema: "Schema",
        *,
        partition_by: Sequence[str] = (),
        configuration: Mapping[str, str] | None = None,
    ) -> "DeltaTable":
        """The table, which is made unless it is there; columns that it lacks come with the first rows that have them.

        Parameters
        ----------
        configuration:
            Table properties of a new table, for example `delta.logRetentionDuration`.

        Raises
        ------
        IncompatibleSchema
            It is there with another type of a column, or other partitions.
        LakeUnavailable
        """
        try:
            table = await self.open(layer, name)
        except TableMissing:
            options = await self._options()
            try:
                table = await self.run(
                    layer, name, _create, self._address(layer, name), schema, partition_by, configuration, options
                )
            except LakeUnavailable:
                raise
            except LakeError:  # somebody else was making it
                table = await self.open(layer, name)
        require_columns(f"{layer}.{name}", table, schema, partition_by)
        return table

    async def run(self, layer: Layer, name: str, call: Callable[..., T], *arguments: Any) -> T:
        """What a blocking call returns, which runs in a thread; what it raises are errors of this package.

        Raises
        ------
        LakeError
        """
        table = f"{layer}.{name}"

        def named() -> T:
            with named_errors(table):
                return call(*arguments)

        try:
            async with asyncio.timeout(self._seconds):
                return await asyncio.get_running_loop().run_in_executor(self._threads, named)
        except TimeoutError:
            raise LakeUnavailable(table, f"no answer within {self._seconds:.0f} s") from None

    def close(self) -> None:
        """Take no more calls; those that run end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _address(self, layer: Layer, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError(f"the table {name!r}: use lower-case letters, digits and underscores")
        return f"{self._root}/{layer}/{name}"

    @staticmethod
    def _open(address: str, options: dict[str, str], version: int | datetime | None, label: str) -> "DeltaTable":
        from deltalake import DeltaTable

        table = DeltaTable(address, storage_options=options)
        if isinstance(version, int) and not 0 <= version <= table.version():  # the library looks for each one between
            raise VersionMissing(label, f"there is no version {version}: the newest is {table.version()}")
        if version is not None and version != table.version():
            table.load_as_version(version)
        return table


def _create(
    address: str,
    schema: "Schema",
    partition_by: Sequence[str],
    configuration: Mapping[str, str] | None,
    options: dict[str, str],
) -> "DeltaTable":
    from deltalake import DeltaTable

    return DeltaTable.create(
        address,
        schema,
        partition_by=list(partition_by),
        configuration=dict(configuration or {}),
        storage_options=options,
    )


def require_columns(name: str, table: "DeltaTable", schema: "Schema", partition_by: Sequence[str]) -> None:
    """Raise IncompatibleSchema unless rows of a schema can be appended as they are: left alone, they would be cast."""
    from deltalake import Schema

    there = {field.name: field for field in table.schema().fields}
    wanted = {field.name: field for field in Schema.from_arrow(schema).fields}
    wrong = [
        f"{name} is {there[name].type}, not {field.type}"
        for name, field in wanted.items()
        if name in there and there[name].type != field.type
    ]
    wrong += [f"{name} takes no null" for name, field in there.items() if name not in wanted and not field.nullable]
    if list(table.metadata().partition_columns) != list(partition_by):
        wrong.append(f"it is partitioned by {table.metadata().partition_columns}")
    if wrong:
        raise IncompatibleSchema(name, "; ".join(wrong))
