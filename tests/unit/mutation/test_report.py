"""What counts as noticed, and when a target passes."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

import pytest

from local.mutation.report import Equivalent, Mutant, Report, read_equivalents, table
from local.mutation.targets import TARGETS

DIFF = """\
--- shared/work/work.py
+++ shared/work/work.py
@@ -1,2 +1,2 @@
 def load():
-    return 1
+    return 2
"""


def mutants(*verdicts: str) -> list[Mutant]:
    return [Mutant.of(f"shared.work.work.xǁWorkǁload__mutmut_{n}", each, DIFF) for n, each in enumerate(verdicts)]


def test_a_mutant_is_named_as_python_does() -> None:
    (method,) = mutants("survived")
    assert (method.function, method.before, method.after) == ("shared.work.work.Work.load", "return 1", "return 2")
    assert Mutant("shared.work.work.x__read_all__mutmut_12", "killed").function == "shared.work.work._read_all"


def test_what_no_test_noticed_has_survived() -> None:
    """A time-out is noticed; a mutant that no test comes to, or one with a strange end, isn't."""
    report = Report.of("work", mutants("killed", "timeout", "segfault", "survived", "no tests", "suspicious"), [])
    assert (report.mutants, report.timeouts, len(report.survivors), report.share) == (6, 1, 3, 0.5)
    assert not report.passes


def test_what_is_equivalent_does_not_count() -> None:
    """Neither way; and an entry for another change, or for one that was killed, takes nothing away."""
    same = Equivalent("shared.work.work.Work.load", "return 1", "return 2", "nobody reads it")
    report = Report.of("work", mutants("killed", "killed", "survived"), [same])
    assert (report.mutants, report.survivors, report.equivalent, report.passes) == (2, (), 1, True)
    for other in (same._replace(function="x"), same._replace(before="x"), same._replace(after="x")):
        assert len(Report.of("work", mutants("survived"), [other]).survivors) == 1


@pytest.mark.parametrize(("killed", "survived", "passes"), [(86, 14, True), (85, 15, False), (0, 0, False)])
def test_fewer_than_15_percent_may_survive(killed: int, survived: int, passes: bool) -> None:
    """And nothing passes that was not tried."""
    report = Report.of("work", mutants(*["killed"] * killed, *["survived"] * survived), [])
    assert report.passes is passes
    assert ("not below 15%" in table([report])) is not passes


def test_every_equivalent_gives_its_reason(project: Path) -> None:
    entries = read_equivalents((project / "local" / "mutation" / "equivalent.toml").read_text(encoding="utf-8"))
    assert all(entry.reason for entry in entries)
    with pytest.raises(TypeError, match="reason"):
        read_equivalents('[[equivalent]]\nfunction = "a"\nbefore = "b"\nafter = "c"\n')


def test_targets_are_there(project: Path) -> None:
    """Files and tests that were moved are missed."""
    files = [file.relative_to(project).as_posix() for file in (project / "shared").rglob("*.py")]
    for target in TARGETS:
        assert all(any(fnmatch(file, pattern) for file in files) for pattern in (*target.files, *target.without))
        assert all((project / each).exists() for each in target.tests)
