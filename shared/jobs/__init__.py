"""Scheduled work: schedules, and jobs that one instance at a time runs."""

from .job import Job, JobRun, Scheduled, ScheduledRun, WrongJob
from .records import JobRecord, JobRecords, Outcome
from .runner import JobRunner
from .schedule import Schedule, WrongSchedule, parse_schedule, shortest_gap

__all__ = [
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
