"""Composes the app: settings, telemetry, integrations, every capability."""

import integrations
from functions.composition import CAPABILITIES, SETTINGS, Composition, capabilities_of, compose, with_synthetic
from shared.messages import discover
from shared.telemetry import configure

settings = SETTINGS.load()
configure(settings)
composition = Composition(settings, with_synthetic(discover(integrations)))
capabilities = capabilities_of(composition, CAPABILITIES)
app = compose(capabilities)
