"""Invokes a timer function when it is due, on one instance only, and remembers it across restarts."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from local_azure.host.errors import IndexingError
from local_azure.host.functions import Function
from local_azure.host.invocation import decode
from local_azure.host.listener import BY_HAND, Services, pause
from local_azure.host.retrying import Interrupted, invoke_with_retries
from local_azure.host.storage import HostStorage, LeaseLost, host_id, open_blob_service
from local_azure.host.timers.schedule import parse_schedule
from local_azure.host.trigger_data.timers import FIRST, schedule_status, timer

__all__ = ["TimerListener"]

# How often an instance without the lease asks for it, in seconds.
_LEASE_POLL_SECONDS = 5.0
_MINUTE = timedelta(minutes=1)


class TimerListener:
    """One timer, kept by the instance that holds its lease in AzureWebJobsStorage.

    With the schedule monitor (the default, never for more than one run a minute) a run that was missed while
    no host was up is made up for at the start, with `past_due` set.
    """

    def __init__(
        self, function: Function, services: Services, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.function = function
        self._services = services
        self._now = now
        where = f"function {function.name}"
        try:
            self._schedule = parse_schedule(function.setting("schedule"))
        except ValueError as error:
            raise IndexingError(f"{where}: {error}") from None
        self._storage = services.settings.connection("AzureWebJobsStorage", where)
        self._at_startup = function.setting("runOnStartup").lower() == "true"
        self._monitored = function.setting("useMonitor").lower() != "false" and not self._is_frequent()

    @property
    def name(self) -> str:
        return self.function.name

    def _is_frequent(self) -> bool:
        first = self._schedule.next_after(self._now())
        return self._schedule.next_after(first) - first < _MINUTE

    async def run(self) -> None:
        """Keep the timer whenever this instance holds the lease, until the host ends."""
        async with open_blob_service(self._storage) as service:
            storage = self._host_storage(service)
            await storage.ensure_container()
            while not self._services.stopping.is_set():
                async with storage.hold(f"locks/Host.Functions.{self.name}.Listener") as lost:
                    if lost is not None:
                        await self._keep(storage, lost)
                        continue
                await pause(self._services.stopping, _LEASE_POLL_SECONDS)

    async def close(self) -> None:
        """Nothing is left open after `run`."""

    async def run_manually(self, text: str) -> None:
        """Invoke now, as the admin endpoint does; the input reaches the metadata alone."""
        status = None
        if self._monitored:
            async with open_blob_service(self._storage) as service:
                status = await self._host_storage(service).read(self._status_path)
        await self._invoke(status, past_due=False, by_hand=text)

    def _host_storage(self, service: Any) -> HostStorage:
        return HostStorage(service, host=host_id(self._services.settings), instance=self._services.instance)

    @property
    def _status_path(self) -> str:
        return f"timers/Host.Functions.{self.name}/status"

    async def _keep(self, storage: HostStorage, lost: asyncio.Event) -> None:
        path = self._status_path
        status = await storage.read(path) if self._monitored else None
        past_due = _is_past_due(status, self._now())
        if self._monitored and status is None:
            status = schedule_status(FIRST, self._schedule.next_after(self._now()))
            await storage.write(path, status)
        if self._at_startup or past_due:
            status = await self._due(storage, path, status, past_due=past_due)
        while True:
            due = self._schedule.next_after(self._now())
            if await self._wait(due, lost):
                return
            status = await self._due(storage, path, status, past_due=False, scheduled=due)

    async def _wait(self, due: datetime, lost: asyncio.Event) -> bool:
        """Wait for a due time; True if the host ends first.

        Raises
        ------
        LeaseLost
            Another instance may have taken over.
        """
        while (seconds := (due - self._now()).total_seconds()) > 0:
            if await pause(self._services.stopping, min(seconds, 1.0)):
                return True
            if lost.is_set():
                raise LeaseLost(f"the lease of timer {self.name}")
        return False

    async def _due(
        self,
        storage: HostStorage,
        path: str,
        status: dict[str, Any] | None,
        *,
        past_due: bool,
        scheduled: datetime | None = None,
    ) -> dict[str, Any] | None:
        """Invoke, and keep the new status; failing is no reason to run again before the next time."""
        try:
            await self._invoke(status, past_due=past_due)
        except Interrupted:
            return status
        if not self._monitored:
            return None
        last = scheduled or self._now()
        following = self._schedule.next_after(max(last, self._now()))
        status = schedule_status(last, following)
        await storage.write(path, status)
        return status

    async def _invoke(self, status: dict[str, Any] | None, *, past_due: bool, by_hand: str | None = None) -> None:
        now, trigger = self._now(), self.function.trigger
        given = timer(status, past_due=past_due, now=now, by_hand=None if by_hand is None else (trigger.name, by_hand))
        tags = {"OperationName": self.name} if by_hand is None else None
        reason = f"Timer fired at {now.isoformat()}" if by_hand is None else BY_HAND
        await invoke_with_retries(
            self.function, self._services, lambda: decode(trigger, *given), reason=reason, attributes=tags
        )


def _is_past_due(status: dict[str, Any] | None, now: datetime) -> bool:
    try:
        return status is not None and datetime.fromisoformat(str(status["Next"])) < now
    except (KeyError, ValueError):
        return False
