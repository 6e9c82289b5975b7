"""Settings of scheduled work: when the app's own sweeps run."""

from typing import Annotated

from pydantic import AfterValidator, Field

from shared.environment import SettingsSlice

from .schedule import parse_schedule

__all__ = ["JobSettings"]


def _is_schedule(text: str) -> str:
    parse_schedule(text)
    return text


ScheduleText = Annotated[str, Field(max_length=256), AfterValidator(_is_schedule)]


class JobSettings(SettingsSlice):
    """NCRONTAB in UTC, or intervals."""

    outbox_sweep_schedule: ScheduleText = Field("*/30 * * * * *", alias="SLUICE_OUTBOX_SWEEP_SCHEDULE")
    parking_schedule: ScheduleText = Field("*/5 * * * * *", alias="SLUICE_PARKING_SCHEDULE")
    dead_letter_drain_schedule: ScheduleText = Field("*/30 * * * * *", alias="SLUICE_DEAD_LETTER_DRAIN_SCHEDULE")
    claim_sweep_schedule: ScheduleText = Field("0 30 3 * * *", alias="SLUICE_CLAIM_SWEEP_SCHEDULE")
    inbox_sweep_schedule: ScheduleText = Field("0 0 4 * * *", alias="SLUICE_INBOX_SWEEP_SCHEDULE")
