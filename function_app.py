"""Composes the app: settings, telemetry, integrations, every blueprint."""

import azure.functions as func

import integrations
from functions import (
    Services,
    api_blueprint,
    dead_letters_blueprint,
    lanes_blueprint,
    rotation_blueprint,
    streams_blueprint,
    timers_blueprint,
)
from shared.messages import discover
from shared.settings import Settings
from shared.telemetry import configure

settings = Settings.load()
configure(settings)
services = Services(settings, discover(integrations))

app = func.FunctionApp()
for blueprint in (
    api_blueprint,
    lanes_blueprint,
    dead_letters_blueprint,
    streams_blueprint,
    timers_blueprint,
    rotation_blueprint,
):
    app.register_functions(blueprint(services))
