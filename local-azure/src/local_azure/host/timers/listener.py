"""Invokes a timer function when it is due, on one instance only, and remembers it across restarts."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from azure.functions.meta import Datum

from local_azure.host import wire
from local_azure.host.errors import IndexingError
from local_azure.host.functions import Function
from local_azure.host.invocation import decode
from local_azure.host.listener import Services, pause
from local_azure.host.retrying import Interrupted, invoke_with_retries
from local_azure.host.storage import HostStorage, LeaseLost, host_id, open_blob_service
from local_azure.host.timers.schedule import parse_schedule

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
            storage = HostStorage(service, host=host_id(self._services.settings), instance=self._services.instance)
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
        """Invoke now, as the admin endpoint does; a timer has no input."""
        del text
        await self._invoke(None, past_due=False)

    async def _keep(self, storage: HostStorage, lost: asyncio.Event) -> None:
        path = f"timers/Host.Functions.{self.name}/status"
        status = await storage.read(path) if self._monitored else None
        past_due = _is_past_due(status, self._now())
        if self._monitored and status is None:
            status = _status(None, self._schedule.next_after(self._now()), self._now())
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
        status = _status(last, following, last)
        await storage.write(path, status)
        return status

    async def _invoke(self, status: dict[str, Any] | None, *, past_due: bool) -> None:
        info = {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": status, "IsPastDue": past_due}
        data: Datum = wire.json_datum(info)
        reason = f"Timer fired at {_text(self._now())}"
        trigger = self.function.trigger
        await invoke_with_retries(self.function, self._services, lambda: decode(trigger, data, {}), reason=reason)


def _text(moment: datetime) -> str:
    return wire.net_datetime_offset(moment)


def _status(last: datetime | None, following: datetime, updated: datetime) -> dict[str, Any]:
    return {
        "Last": _text(last) if last else "0001-01-01T00:00:00",
        "Next": _text(following),
        "LastUpdated": _text(updated),
    }


def _is_past_due(status: dict[str, Any] | None, now: datetime) -> bool:
    try:
        return status is not None and datetime.fromisoformat(str(status["Next"])) < now
    except (KeyError, ValueError):
        return False
