"""The lake is there where its account is named."""

from __future__ import annotations

import pytest

from shared.environment import WrongSettings
from shared.lake.settings import LakeSettings


def test_without_its_account_there_is_no_lake() -> None:
    """And an address of another service is none of it."""
    assert LakeSettings.load({}).lake is None
    found = LakeSettings.load({"Lake__blobServiceUri": "https://stlake.blob.core.windows.net"})
    assert found.lake is not None
    assert found.lake.accounts == ("https://stlake.blob.core.windows.net",)
    with pytest.raises(WrongSettings, match="__blobServiceUri, not with __tableServiceUri"):
        LakeSettings.load({"Lake__tableServiceUri": "https://stlake.table.core.windows.net"})


@pytest.mark.parametrize("name", ["Bronze", "a--b", "ab", "-bronze", "bronze-", "b/c"])
def test_a_name_that_no_container_may_have_is_refused(name: str) -> None:
    """Before anything is written there."""
    with pytest.raises(WrongSettings, match="SLUICE_BRONZE_CONTAINER"):
        LakeSettings.load({"SLUICE_BRONZE_CONTAINER": name})
