"""The drill: orders go through a stack whose processes are killed and frozen, and every one is accounted for."""

from local.chaos.drill import DrillOptions, run_drill
from local.chaos.faults import Fault, Kind, plan
from local.chaos.ledger import Ledger, Verdict, judge

__all__ = ["DrillOptions", "Fault", "Kind", "Ledger", "Verdict", "judge", "plan", "run_drill"]
