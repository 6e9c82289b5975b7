"""Settings of reading: how old an answer may be, how much is cached, and whether there is GraphQL."""

from pydantic import Field

from shared.environment import SettingsSlice

__all__ = ["ReadingSettings"]


class ReadingSettings(SettingsSlice):
    """How rows of read models are cached. With the defaults every read asks the store whether the row has changed."""

    read_max_age: int = Field(0, alias="SLUICE_READ_MAX_AGE_SECONDS", ge=0, le=86_400)
    """Seconds for which a row is served without a look at the store."""
    read_stale: int = Field(0, alias="SLUICE_READ_STALE_SECONDS", ge=0, le=86_400)
    """Seconds after that for which it is still served, while it is looked for anew."""
    read_cache_bytes: int = Field(16_777_216, alias="SLUICE_READ_CACHE_BYTES", ge=1_024, le=1_073_741_824)
    """Bytes of rows that an instance keeps in memory."""

    graphql: bool = Field(False, alias="SLUICE_GRAPHQL")
    graphql_introspection: bool = Field(True, alias="SLUICE_GRAPHQL_INTROSPECTION")
    """Whether callers may ask for the schema, and errors suggest names of fields."""
    graphql_max_cost: int = Field(10_000, alias="SLUICE_GRAPHQL_MAX_COST", ge=100, le=1_000_000)
    """Each field costs 1, and what is in a list as often as the list may be long."""
