"""What runs by the clock."""

import azure.functions as func

from .services import Services

__all__ = ["timers_blueprint"]

_REWRAP_SCHEDULE = "0 43 * * * *"


def timers_blueprint(services: Services) -> func.Blueprint:
    """Each sweep runs on one instance at a time: the host runs a timer once per app."""
    blueprint = func.Blueprint()

    async def sweep_outbox(timer: func.TimerRequest) -> None:
        await services.outbox.sweep()

    async def drain_parked(timer: func.TimerRequest) -> None:
        await services.parking_drain.drain()

    async def sweep_claims(timer: func.TimerRequest) -> None:
        await services.claim_sweeper.sweep()
        await services.value_sweeper.sweep()

    async def sweep_inbox(timer: func.TimerRequest) -> None:
        await services.inbox_sweeper.sweep()

    async def rewrap_data_keys(timer: func.TimerRequest) -> None:
        if services.protection is not None:
            await services.protection.rewrapping.run()

    blueprint.timer_trigger(arg_name="timer", schedule=_REWRAP_SCHEDULE)(rewrap_data_keys)
    blueprint.timer_trigger(arg_name="timer", schedule="%SLUICE_OUTBOX_SWEEP_SCHEDULE%")(sweep_outbox)
    blueprint.timer_trigger(arg_name="timer", schedule="%SLUICE_PARKING_SCHEDULE%")(drain_parked)
    blueprint.timer_trigger(arg_name="timer", schedule="%SLUICE_CLAIM_SWEEP_SCHEDULE%")(sweep_claims)
    blueprint.timer_trigger(arg_name="timer", schedule="%SLUICE_INBOX_SWEEP_SCHEDULE%")(sweep_inbox)
    return blueprint
