"""Limits: how often a client may call and how much in a period, kept together by all instances; and what was used."""

from .blocks import Block, BlockStore, Quota, SharedRate
from .leased import LeasedRate, Surroundings
from .limiter import Limiter, Verdict
from .plans import Period, Plan, Plans, Prices, Rate, WrongPlans
from .redis_blocks import RedisBlocks
from .rows import TableBlocks
from .usage import Counts, Usage, UsageMeter, UsageStore, invoiced
from .usage_rows import TableUsage

__all__ = [
    "Block",
    "BlockStore",
    "Counts",
    "LeasedRate",
    "Limiter",
    "Period",
    "Plan",
    "Plans",
    "Prices",
    "Quota",
    "Rate",
    "RedisBlocks",
    "SharedRate",
    "Surroundings",
    "TableBlocks",
    "TableUsage",
    "Usage",
    "UsageMeter",
    "UsageStore",
    "Verdict",
    "WrongPlans",
    "invoiced",
]
