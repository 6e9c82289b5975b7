"""Scheduled work: schedules, and jobs that one instance at a time runs."""

from .job import LONGEST_SECONDS, Job, JobRun, WrongJob
from .records import JobRecord, JobRecords, Outcome
from .runner import JobRunner
from .schedule import Schedule, WrongSchedule, parse_schedule, shortest_gap
from .scheduled import Scheduled, ScheduledRun

__all__ = [
    "LONGEST_SECONDS",
    "Job",
    "JobRecord",
    "JobRecords",
    "JobRun",
    "JobRunner",
    "Outcome",
    "Schedule",
    "Scheduled",
    "ScheduledRun",
    "WrongJob",
    "WrongSchedule",
    "parse_schedule",
    "shortest_gap",
]
