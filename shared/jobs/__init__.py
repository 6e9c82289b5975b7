"""Scheduled work: schedules, and jobs that one instance at a time runs."""

from .job import LONGEST_SECONDS, Job, JobRun, WrongJob
from .schedule import Schedule, WrongSchedule, parse_schedule, shortest_gap

__all__ = [
    "LONGEST_SECONDS",
    "Job",
    "JobRun",
    "Schedule",
    "WrongJob",
    "WrongSchedule",
    "parse_schedule",
    "shortest_gap",
]
