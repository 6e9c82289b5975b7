"""What operators did and do, in the table where rotations are recorded too; the trail's end is logged by the app."""

from functions.triggers import AppName
from shared.audit import AuditAnchor, AuditChain
from shared.jobs import Job, JobRun, parse_schedule

from .capability import Capability, Command
from .composition import Composition
from .dead_letters import AUDIT_TABLE
from .declaring import Access, Need, Table
from .platform import platform

__all__ = ["audit_chain", "capability"]

_SCHEDULE = "5m"


def audit_chain(composition: Composition) -> AuditChain:
    """What operators did."""
    table = composition.get(platform).table(AUDIT_TABLE)
    composition.on_close(table.close)
    return AuditChain(table, now=composition.now)


def audit_anchor(composition: Composition) -> AuditAnchor:
    """Logs the chain's end."""
    return AuditAnchor(composition.get(audit_chain))


def capability(composition: Composition) -> Capability:
    """A look at the chain's end, so that the log knows what it must hold."""

    async def anchor_audit(_: JobRun) -> None:
        await composition.get(audit_anchor).run()

    return Capability(
        name="audit",
        jobs=[Job(name="anchor-audit", app=AppName.STREAMS, schedule=parse_schedule(_SCHEDULE), call=anchor_audit)],
        commands=[
            Command(
                name="audit", summary="list what operators did, and check that nobody changed it", module="ops.auditing"
            )
        ],
        needs=[Need(access=Access.READ, to=Table(name=AUDIT_TABLE), why="Logs the end of the audit trail.")],
    )
