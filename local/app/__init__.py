"""The deployed app as another process sees it: its functions, bindings and settings, without Azure."""

from local.app.describing import AppDescription, AppNotLoaded, Setting, describe, sample_environment

__all__ = ["AppDescription", "AppNotLoaded", "Setting", "describe", "sample_environment"]
