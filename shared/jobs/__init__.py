"""Scheduled work: schedules, and jobs that one instance at a time runs."""

from .job import Job, JobRun, Scheduled, ScheduledRun
from .records import JobRecord, JobRecords
from .runner import JobRunner
from .schedule import Schedule, WrongSchedule, parse_schedule, shortest_gap

__all__ = [
    "Job",
    "JobRecord",
    "JobRecords",
    "JobRun",
    "JobRunner",
    "Schedule",
    "Scheduled",
    "ScheduledRun",
    "WrongSchedule",
    "parse_schedule",
    "shortest_gap",
]
