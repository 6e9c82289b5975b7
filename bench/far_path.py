"""One instance with its parts as far away as in Azure, against the obvious and the tuned version of the same path.

Storage answers 4 ms later, Service Bus 5 ms, Event Hubs 8 ms: each behind a relay that passes bytes on later.
"""

import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from .harness import Figure, Joint
from .stack import ROOT, distant, distant_port
from .whole_path import Measured, Parts, Side, measure, parts

STORAGE_MS, BUS_MS, HUB_MS = 4, 5, 8
OBVIOUS_ORDERS = 48


@contextmanager
def _far(bed: Parts) -> Iterator[dict[str, Side]]:
    """Whole, tuned and obvious side on distant parts."""
    with ExitStack() as stack:
        near = bed.sides["whole"].settings
        far = {
            "ServiceBus": stack.enter_context(distant(near["ServiceBus"], BUS_MS)),
            "EventHubs": stack.enter_context(distant(near["EventHubs"], HUB_MS)),
        }
        storage = near["State"]
        for name in ("Blob", "Queue", "Table"):
            found = re.search(rf"{name}Endpoint=http://127.0.0.1:(\d+)/", storage)
            assert found is not None
            port = stack.enter_context(distant_port(found[1], STORAGE_MS))
            storage = storage.replace(f":{found[1]}/", f":{port}/")
        far |= dict.fromkeys(("AzureWebJobsStorage", "State", "Claims"), storage)
        whole, tuned = bed.sides["whole"], bed.sides["bare"]
        obvious = replace(tuned, name="obvious", app=ROOT / "bench" / "obvious_path", orders=OBVIOUS_ORDERS)
        sides = {"whole": whole, "tuned": replace(tuned, name="tuned"), "obvious": obvious}
        yield {name: replace(side, settings={**side.settings, **far}) for name, side in sides.items()}


def _rounds(rounds: int) -> Iterator[tuple[float, ...]]:
    with parts() as bed, _far(bed) as sides:
        for number in range(rounds):
            found = {name: measure(bed, side, f"{name[0]}{number}") for name, side in sides.items()}
            for name, side in found.items():
                print(f"    {name}: {_told(side)}", file=sys.stderr)
            whole, tuned, obvious = found["whole"], found["tuned"], found["obvious"]
            yield (
                whole.rate / obvious.rate,
                whole.rate / tuned.rate,
                whole.quantile(0.5) / tuned.quantile(0.5),
                whole.quantile(0.99) / tuned.quantile(0.99),
            )


def _told(side: Measured) -> str:
    return f"{side.rate:.1f}/s, p50 {side.quantile(0.5) * 1e3:.0f} ms, p99 {side.quantile(0.99) * 1e3:.0f} ms"


BENCHMARKS = [
    Joint(
        "distance",
        (
            Figure(
                "distance-obvious", "orders a second of one instance, parts far off / the obvious path", 20, "higher"
            ),
            Figure("distance-tuned", "the same / the tuned path without guarantees", 0.5, "higher"),
            Figure("distance-p50", "p50 at half of capacity / the tuned path's at half of its", 3, "lower"),
            Figure("distance-p99", "p99 at half of capacity / the tuned path's at half of its", 3, "lower"),
        ),
        _rounds,
    )
]
