"""How much code one order goes through: who follows it with a debugger opens few files, and it stays so.

Counted are the files of `shared` and `functions` in which a function runs, and those functions, with memory in the
place of Azure; comprehensions and lambdas belong to the function around them. An order went before, so that nothing is
made for the first time, and nothing fails.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from functions.composition.door import overload_watch
from functions.composition.processing import processor
from functions.composition.read_models import projector
from functions.composition.sending import outbox
from shared.messages import Delivery, Lane
from shared.streams import StreamEvent
from tests.unit.functions.conftest import Running

MOST_ON_THE_LANE = (21, 160)
"""Files and functions from a lane's batch to its published event."""
MOST_ON_THE_WHOLE_WAY = (40, 230)
"""The same from the POST to the row that shows the order."""

Walk = defaultdict[str, set[str]]


@contextmanager
def walk(project: Path) -> Iterator[Walk]:
    """File → the functions of it that ran."""
    found: Walk = defaultdict(set)
    roots = tuple(f"{project / name}/" for name in ("shared", "functions"))

    def note(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(roots) and not code.co_name.startswith("<"):
            found[str(Path(code.co_filename).relative_to(project))].add(code.co_qualname)

    sys.setprofile(note)
    try:
        yield found
    finally:
        sys.setprofile(None)


async def posted(running: Running, number: int) -> Delivery:
    """An order that the API has accepted, as its lane hands it over."""
    order = {"orderId": f"53636{number}", "placedAt": "2026-01-05T08:26:00Z", "country": "France"}
    lines = [{"sku": "85123A", "description": "WHITE LANTERN", "quantity": 6, "unitPrice": "2.55"}]
    assert (await running.post("/api/orders", {**order, "customerId": "17850", "lines": lines})).status == 202
    sent = running.lanes.sent[-1]
    return Delivery(
        body=sent.body,
        properties={str(name): value for name, value in sent.headers.to_properties().items()},
        message_id=sent.headers.broker_id,
        sequence_number=number,
        delivery_count=1,
    )


def shown(found: Walk) -> str:
    """What to look at when it is too much."""
    return "\n".join(f"{file}: {', '.join(sorted(names))}" for file, names in sorted(found.items()))


async def test_an_order_opens_few_files(project: Path, running: Running) -> None:
    """From a lane's batch to the published event, and from the POST to the row of the read model."""
    lane, rows = running.composition.get(processor), running.composition.get(projector)
    rest = running.composition.get(outbox)
    looks = running.composition.get(overload_watch)
    assert looks is not None
    for number in (1, 2):
        with walk(project) as before_the_lane:
            delivery = await posted(running, number)
        await looks.close()  # they are the instance's own, a moment after the request
        with walk(project) as on_the_lane:
            await lane.process(Lane.NORMAL, [delivery])
            await rest.close()
        event = StreamEvent(
            body=running.publisher.facts[-1].body, partition="0", offset=str(number), sequence_number=number
        )
        with walk(project) as behind_it:
            await rows.project([event])
    assert len(running.views.rows) == 2
    whole: Walk = defaultdict(set)
    for part in (before_the_lane, on_the_lane, behind_it):
        for file, names in part.items():
            whole[file] |= names
    for found, most in ((on_the_lane, MOST_ON_THE_LANE), (whole, MOST_ON_THE_WHOLE_WAY)):
        files, functions = len(found), sum(len(names) for names in found.values())
        assert files <= most[0], f"{files} files:\n{shown(found)}"
        assert functions <= most[1], f"{functions} functions:\n{shown(found)}"
