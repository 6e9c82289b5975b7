"""Timer information as the timers extension and the host send it to the worker."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from azure.functions.meta import Datum

from local_azure.host.trigger_data import values
from local_azure.host.trigger_data.net_json import net_datetime_offset
from local_azure.host.trigger_data.values import Metadata

__all__ = ["FIRST", "schedule_status", "timer"]

FIRST = datetime.min.replace(tzinfo=UTC)


def schedule_status(last: datetime, following: datetime) -> dict[str, Any]:
    """What a monitored timer remembers; `last` is FIRST before its first run."""
    shown = net_datetime_offset(last)
    return {"Last": shown, "Next": net_datetime_offset(following), "LastUpdated": shown}


def timer(
    status: Mapping[str, Any] | None, *, past_due: bool, now: datetime, by_hand: tuple[str, str] | None = None
) -> tuple[Datum, Metadata]:
    """Data and metadata of one run.

    Parameters
    ----------
    status
        Of a monitored timer; None for one that fires more than once a minute.
    by_hand
        The parameter's name and the input, of a run that was asked for by `POST /admin/functions/NAME`.
    """
    info = {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": status, "IsPastDue": past_due}
    metadata = {"TimerTrigger": values.text(f"{now:%m/%d/%Y %H:%M:%S}")}
    if by_hand is not None:
        metadata[by_hand[0]] = values.text(by_hand[1])
    return values.json_datum(info), metadata
