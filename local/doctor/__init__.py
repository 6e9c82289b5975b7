"""`dev.py doctor`: compares everything that states the same thing twice, before production does."""

from local.doctor.examining import examine
from local.doctor.facts import Facts
from local.doctor.readers import CannotExamine, read_app, read_facts
from local.doctor.rules import RULES, Finding, Rule

__all__ = ["RULES", "CannotExamine", "Facts", "Finding", "Rule", "examine", "read_app", "read_facts"]
