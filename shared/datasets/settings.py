"""Settings of datasets: whether there are any, and what a question may take, by role."""

from pydantic import Field

from shared.environment import SettingsSlice

__all__ = ["DatasetSettings"]

_MIB = 1_048_576


class DatasetSettings(SettingsSlice):
    """What one question may take; an operator's limits are its own."""

    datasets: bool = Field(False, alias="SLUICE_DATASETS")
    datasets_bytes: int = Field(256 * _MIB, alias="SLUICE_DATASETS_BYTES", ge=_MIB, le=1 << 40)
    """Bytes of the files that a reader's question scans."""
    datasets_operator_bytes: int = Field(2_048 * _MIB, alias="SLUICE_DATASETS_OPERATOR_BYTES", ge=_MIB, le=1 << 40)
    datasets_rows: int = Field(1_000_000, alias="SLUICE_DATASETS_ROWS", ge=1, le=1 << 40)
    """Rows of an answer that isn't paged."""
    datasets_operator_rows: int = Field(10_000_000, alias="SLUICE_DATASETS_OPERATOR_ROWS", ge=1, le=1 << 40)
    datasets_seconds: int = Field(20, alias="SLUICE_DATASETS_SECONDS", ge=1, le=240)
    """Seconds of computing, without the time that the caller takes to read."""
    datasets_operator_seconds: int = Field(60, alias="SLUICE_DATASETS_OPERATOR_SECONDS", ge=1, le=240)
    datasets_at_once: int = Field(4, alias="SLUICE_DATASETS_AT_ONCE", ge=1, le=64)
    """Questions that an instance answers side by side."""
    datasets_memory_bytes: int = Field(256 * _MIB, alias="SLUICE_DATASETS_MEMORY_BYTES", ge=32 * _MIB, le=1 << 40)
    """Memory of the engine for one question."""
    datasets_cache_bytes: int = Field(512 * _MIB, alias="SLUICE_DATASETS_CACHE_BYTES", ge=_MIB, le=1 << 40)
    """Bytes of the lake's files that an instance keeps on its own disk; more where questions need them at once."""
