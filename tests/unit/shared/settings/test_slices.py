"""Slices: each package's settings by themselves, composed into one model that names everything wrong at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from pydantic import Field

from shared.environment import Connection, SettingsSlice, WrongSettings, contradiction
from shared.processing.settings import ProcessingSettings
from shared.settings import Settings

from .test_settings import RIGHT, refused

SLICES = [one for one in Settings.__bases__ if issubclass(one, SettingsSlice)]


def test_contradictions_are_told_with_what_is_missing_and_wrong() -> None:
    """A stranger mends an environment in one go, of several packages at once."""
    message = refused(
        State=None,
        SLUICE_STATE_BUCKETS="many",
        SLUICE_RETRY_BASE_SECONDS="10",
        SLUICE_RETRY_CAP_SECONDS="5",
        SLUICE_LANE_HIGH="q",
        SLUICE_LANE_LOW="q",
        SLUICE_ENCRYPTED_LANES="high",
        SLUICE_TOKEN_KEY="secret:token-key",
        SLUICE_SECRET_PRELOAD="a",
        SLUICE_TELEMETRY="azure-monitor",
        SLUICE_INBOX_RETENTION_DAYS="3",
        SLUICE_CLAIM_RETENTION_DAYS="3",
    )
    for says in (
        "State: is missing",
        "SLUICE_STATE_BUCKETS: ",
        "SLUICE_RETRY_CAP_SECONDS is below",
        "must name four queues",
        "SLUICE_ENCRYPTED_LANES needs SLUICE_DATA_KEY",
        "SLUICE_TOKEN_KEY needs SLUICE_DATA_KEY",
        "SLUICE_SECRET_PRELOAD names secrets",
        "SLUICE_TELEMETRY=azure-monitor needs",
        "SLUICE_INBOX_RETENTION_DAYS is below",
        "SLUICE_CLAIM_RETENTION_DAYS is below",
    ):
        assert says in message
    assert "\n" not in message


def test_what_is_wrong_by_itself_is_told_once() -> None:
    """What follows from it isn't."""
    message = refused(SLUICE_RETRY_CAP_SECONDS="-1", SLUICE_BATCH_BUDGET_SECONDS="1")
    assert "SLUICE_RETRY_CAP_SECONDS: " in message
    assert "is below SLUICE_RETRY_BASE_SECONDS" not in message
    assert "SLUICE_BATCH_BUDGET_SECONDS is below SLUICE_HANDLER_TIMEOUT_SECONDS" in message


def test_a_slice_is_read_by_itself() -> None:
    """Its own contradictions are checked; those of others aren't its business."""
    assert ProcessingSettings.load({"SLUICE_RETRY_MAX_ATTEMPTS": "7"}).retry_max_attempts == 7
    with pytest.raises(WrongSettings, match="SLUICE_RETRY_CAP_SECONDS is below"):
        ProcessingSettings.load({"SLUICE_RETRY_BASE_SECONDS": "10", "SLUICE_RETRY_CAP_SECONDS": "5"})
    with pytest.raises(ValueError, match="is below"):
        ProcessingSettings(retry_base_seconds=10, retry_cap_seconds=5)


def test_no_two_slices_own_a_variable() -> None:
    """One of them would read the other's."""
    owners = Counter(field.alias for one in SLICES for field in one.model_fields.values())
    assert {name: count for name, count in owners.items() if count > 1} == {}
    assert set(owners) == {field.alias for field in Settings.model_fields.values()}


class Parcels(SettingsSlice):
    """What a new capability reads."""

    carrier: Connection = Field(alias="Carrier")
    fewest: int = Field(1, alias="PARCELS_FEWEST", ge=1)
    most: int = Field(9, alias="PARCELS_MOST", ge=1)

    @contradiction("fewest", "most")
    def _some(self) -> Iterator[str]:
        if self.most < self.fewest:
            yield "PARCELS_MOST is below PARCELS_FEWEST"


def test_a_new_slice_joins_the_model() -> None:
    """Its rules and its connections are read as all others."""
    more = Settings.with_slices([Parcels])
    with pytest.raises(WrongSettings) as caught:
        more.load({"PARCELS_FEWEST": "5", "PARCELS_MOST": "4"})
    for says in ("Carrier: is missing", "State: is missing", "PARCELS_MOST is below PARCELS_FEWEST"):
        assert says in str(caught.value)
    loaded = more.load(RIGHT | {"Carrier": "Endpoint=a", "PARCELS_MOST": "4"})
    assert (loaded.slice(Parcels).most, loaded.state_buckets) == (4, 64)


def test_a_slice_that_was_not_loaded_is_named() -> None:
    """A part asks for its own."""
    with pytest.raises(WrongSettings, match="Parcels"):
        Settings.load(RIGHT).slice(Parcels)


class Stolen(SettingsSlice):
    """Another's variable under a name of its own."""

    buckets: int = Field(1, alias="SLUICE_STATE_BUCKETS")


class Again(SettingsSlice):
    """Another's attribute, from a variable of its own."""

    most: int = Field(1, alias="AGAIN_MOST")


@pytest.mark.parametrize(
    ("slices", "named"), [([Stolen], "Settings and Stolen both own SLUICE_STATE_BUCKETS"), ([Parcels, Again], "most")]
)
def test_two_owners_of_a_setting_are_named(slices: list[type[SettingsSlice]], named: str) -> None:
    """Before anything is read."""
    with pytest.raises(ValueError, match=named):
        Settings.with_slices(slices)
