"""An event hub: partitions, and the consumer groups whose readers follow them.

Pure: time is passed in (`now`, milliseconds since the epoch), changes are noted in a `Journal`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Protocol

from local_azure.broker.amqp import AmqpError, Condition
from local_azure.broker.entities import EventHubDescription, entity_key
from local_azure.broker.eventhubs.partition import Event, Partition
from local_azure.broker.eventhubs.partition_key import partition_of
from local_azure.broker.journal import Journal

__all__ = ["EventHub", "Reader"]

_MAX_READERS: Final = 5
"""Readers without an epoch that share a partition in one group (Event Hubs quotas)."""

_TRIM_EVERY_MS: Final = 10_000


class Reader(Protocol):
    """One receiver of one partition; `epoch` is None for a non-exclusive one. `name` is the client's own for it."""

    name: str
    epoch: int | None
    position: int

    @property
    def is_ready(self) -> bool:
        """Whether it can take an event right now."""
        ...

    def deliver(self, event: Event) -> None:
        """Take an event."""
        ...

    def nothing_left(self) -> None:
        """There is nothing more to read at the moment."""
        ...

    def stolen(self, error: AmqpError) -> None:
        """Another reader took the partition over."""
        ...


class EventHub:
    """One hub. `identities` are the storage numbers of its partitions."""

    def __init__(
        self,
        description: EventHubDescription,
        identities: Sequence[int],
        created_at: int,
        journal: Journal,
        wake: Callable[[EventHub], None],
    ) -> None:
        self.description = description
        self.created_at = created_at
        self.partitions = [
            Partition(identity, name) for identity, name in zip(identities, description.partition_ids, strict=True)
        ]
        self.journal = journal
        self.wake = wake
        self._next_partition = 0
        self._next_trim = 0
        self.timer_at: int | None = None
        self.is_removed = False
        self._readers: dict[tuple[str, int], list[Reader]] = {}

    # -- writing -----------------------------------------------------------------------------------
    def append(self, events: Sequence[Event], now: int, *, key: str | None = None, partition: int | None) -> int:
        """Take events for a partition, a key's partition, or the next one in turn; give the partition."""
        if self.is_removed:
            raise _gone(self.description.name)
        if not self.description.status.can_send:
            raise AmqpError(Condition.ENTITY_DISABLED, f"Event hub '{self.description.name}' is disabled")
        if partition is None:
            partition = self._partition_for(key)
        log = self.partitions[partition]
        log.reserve(events, now)
        for event in events:
            self.journal.put_event(log.identity, event)
        self.journal.put_counters(log.identity, log.reserved_sequence, log.next_offset)
        self.journal.after_commit(partial(self._publish, log, events))
        return partition

    def _partition_for(self, key: str | None) -> int:
        if key is not None:
            return partition_of(key, len(self.partitions))
        self._next_partition = (self._next_partition + 1) % len(self.partitions)
        return self._next_partition

    def _publish(self, log: Partition, events: Sequence[Event]) -> None:
        log.publish(events)
        self.wake(self)

    # -- reading -----------------------------------------------------------------------------------
    def group(self, name: str) -> str:
        """The name of a consumer group as it was declared."""
        for group in self.description.consumer_groups:
            if entity_key(group.name) == entity_key(name):
                return group.name
        raise AmqpError(
            Condition.NOT_FOUND,
            f"The messaging entity '{self.description.name}/ConsumerGroups/{name}' could not be found",
        )

    def attach(self, group: str, partition: int, reader: Reader) -> None:
        """Add a reader; one with an epoch takes the partition over from those below it.

        Raises
        ------
        AmqpError
            `amqp:link:stolen` if a higher epoch reads already, `amqp:resource-limit-exceeded` if too many do.
        """
        readers = self._readers.setdefault((self.group(group), partition), [])
        holder = next((each for each in readers if each.epoch is not None), None)  # one alone has an epoch
        highest = None if holder is None else holder.epoch
        if reader.epoch is None:
            if highest is not None:
                raise _stolen(
                    f"At least one receiver for the endpoint is created with epoch of '{highest}', and so non-epoch"
                    " receiver is not allowed. Either reconnect with a higher epoch, or make sure all epoch receivers"
                    " are closed or disconnected."
                )
            if len(readers) >= _MAX_READERS:
                raise AmqpError(
                    Condition.RESOURCE_LIMIT_EXCEEDED,
                    f"Exceeded the maximum number of {_MAX_READERS} readers per partition and consumer group",
                )
        elif holder is not None and highest is not None and highest > reader.epoch:
            raise _stolen(
                f"Receiver '{holder.name}' with a higher epoch '{highest}' already exists. Receiver '{reader.name}'"
                f" with epoch {reader.epoch} cannot be created. Make sure you are creating receiver with increasing"
                " epoch value to ensure connectivity, or ensure all old epoch receivers are closed or disconnected."
            )
        else:
            evicted = tuple(readers)
            readers.clear()
            for each in evicted:
                each.stolen(
                    _stolen(
                        f"New receiver '{reader.name}' with higher epoch of '{reader.epoch}' is created hence current"
                        f" receiver '{each.name}' with epoch '{each.epoch or 0}' is getting disconnected. If you are"
                        " recreating the receiver, make sure a higher epoch is used."
                    )
                )
        readers.append(reader)
        self.wake(self)

    def detach(self, reader: Reader) -> None:
        """Remove a reader."""
        for readers in self._readers.values():
            if reader in readers:
                readers.remove(reader)

    def remove(self) -> None:
        """Be no more: readers are sent away, senders are refused from now on."""
        self.is_removed = True
        for readers in self._readers.values():
            for reader in tuple(readers):
                reader.stolen(_gone(self.description.name))

    def dispatch(self) -> None:
        """Send every reader what it can take."""
        for (_, partition), readers in tuple(self._readers.items()):
            log = self.partitions[partition]
            for reader in tuple(readers):
                self._serve(reader, log)
                reader.nothing_left()

    def _serve(self, reader: Reader, log: Partition) -> None:
        while reader.is_ready and reader.position < log.next_sequence:
            for event in log.from_sequence(reader.position, 100):
                if not reader.is_ready:
                    return
                reader.position = event.sequence + 1
                reader.deliver(event)

    # -- time --------------------------------------------------------------------------------------
    def next_deadline(self) -> int | None:
        """When `tick` has something to do."""
        return self._next_trim if any(log.events for log in self.partitions) else None

    def tick(self, now: int) -> None:
        """Let events go whose retention is over."""
        if now < self._next_trim:
            return
        self._next_trim = now + _TRIM_EVERY_MS
        oldest = now - self.description.retention_hours * 3_600_000
        megabytes = self.description.retention_megabytes
        for log in self.partitions:
            if log.trim(oldest, None if megabytes is None else megabytes << 20):
                self.journal.trim_events(log.identity, log.first_sequence)


def _stolen(reason: str) -> AmqpError:
    """In the service's words, which people search for."""
    return AmqpError(Condition.STOLEN, reason)


def _gone(name: str) -> AmqpError:
    return AmqpError(Condition.NOT_FOUND, f"The messaging entity '{name}' could not be found")
