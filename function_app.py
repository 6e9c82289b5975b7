"""Composes the app: settings, telemetry, integrations, every capability."""

import integrations
from functions.composition import CAPABILITIES, Composition, capabilities_of, compose
from shared.messages import discover
from shared.settings import Settings
from shared.telemetry import configure

settings = Settings.load()
configure(settings)
composition = Composition(settings, discover(integrations))
capabilities = capabilities_of(composition, CAPABILITIES)
app = compose(capabilities)
