"""How work enters: triggers and endpoints, thin. They are put together in `functions.composition`."""

__all__: list[str] = []
