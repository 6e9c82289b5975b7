"""What the app declares, written to the files that infrastructure, emulator, gateway and readers of the docs read."""

from local.declaring.writing import Written, declared_files, stale

__all__ = ["Written", "declared_files", "stale"]
