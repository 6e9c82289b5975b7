"""The figures count message ids, so nothing that is repeated on the way changes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from local.demo.carrier import Parcels
from local.demo.invoices import Message
from local.demo.reconciliation import Figures, Heard, percentile, progress, reconcile
from local.demo.replay import Refusal, Replay
from local.demo.stores import Inbox, Kept


def message(number: int, credit_note: bool = False) -> Message:
    return Message(f"id-{number}", f"C{number}" if credit_note else str(number), credit_note, b"{}")


MESSAGES = [message(1), message(2), message(3, credit_note=True)]


def everything(status: str = "done") -> Kept:
    return Kept(
        inbox={each.message_id: Inbox(status, "normal", 0.5) for each in MESSAGES},
        views={("orders", "1"), ("orders", "2"), ("credit-notes", "C3"), ("orders", "older")},
    )


def figures(
    kept: Kept,
    events: Counter[str] | None = None,
    parcels: Parcels | None = None,
    heard: Heard | None = None,
    earlier: Sequence[str] = (),
    **changes: Any,
) -> Figures:
    answers = Replay(accepted={each.message_id: each for each in MESSAGES}, answered=len(MESSAGES))
    for name, value in changes.items():
        setattr(answers, name, value)
    log = events if events is not None else Counter(f"{each.message_id}:0" for each in MESSAGES)
    return reconcile(answers, [], kept, {"id-1", "older"}, log, 0, 1.0, None, parcels, heard, earlier)


def test_a_run_in_which_all_is_kept_reconciles() -> None:
    found = figures(everything())
    assert found.reconciled
    assert (found.accepted, found.orders, found.credit_notes) == (3, 2, 1)
    assert (found.processed, found.lost, found.events_published, found.read_model_rows) == (3, 0, 3, 3)
    assert found.claim_checked == 1


def test_an_event_that_stands_twice_in_the_log_counts_once() -> None:
    log = Counter({"id-1:0": 3, "id-2:0": 1, "id-3:0": 1, "another:0": 9})
    found = figures(everything(), log)
    assert found.reconciled
    assert (found.events_published, found.events_repeated) == (3, 2)


def test_a_message_that_is_nowhere_is_lost_and_named() -> None:
    kept = everything()
    del kept.inbox["id-2"]
    found = figures(kept)
    assert (found.processed, found.lost) == (2, 1)
    assert not found.reconciled
    assert "id-2" in found.problems[0]


def test_a_dead_letter_is_not_lost_and_shows_no_row() -> None:
    kept = everything()
    kept.inbox["id-2"] = Inbox("dead", "normal", 0.1)
    kept.views.remove(("orders", "2"))
    found = figures(kept, Counter({"id-1:0": 1, "id-3:0": 1}))
    assert found.reconciled
    assert (found.processed, found.dead_lettered, found.lost) == (2, 1, 0)


def test_a_dead_letter_without_an_inbox_record_is_not_lost() -> None:
    kept = everything()
    del kept.inbox["id-2"]
    kept.dead_letters.add("id-2")
    assert figures(kept).dead_lettered == 1


def test_a_message_that_was_done_before_its_copy_died_is_done() -> None:
    kept = everything()
    kept.dead_letters.add("id-2")
    found = figures(kept)
    assert (found.processed, found.dead_lettered) == (3, 0)


def test_a_missing_row_and_a_missing_event_are_named() -> None:
    kept = everything()
    kept.views.remove(("credit-notes", "C3"))
    found = figures(kept, Counter({"id-1:0": 1, "id-3:0": 1}))
    assert [text for text in found.problems if "credit-notes/C3" in text]
    assert [text for text in found.problems if "id-2" in text]


def test_an_invoice_without_an_answer_does_not_reconcile_and_is_still_counted() -> None:
    found = figures(everything(), failed=[Refusal("9", "no final answer (last: 500)", "")])
    assert found.input == 4
    assert not found.reconciled


def test_what_was_refused_is_part_of_the_input() -> None:
    found = figures(everything(), refused=[Refusal("9", "quantity: wrong", "invoice 9, line 1")])
    assert (found.input, found.rejected) == (4, 1)
    assert found.reconciled


def test_progress_ends_when_all_is_processed_published_and_shown() -> None:
    accepted = {each.message_id: each for each in MESSAGES}
    kept = everything()
    assert progress(accepted, kept).is_complete(3)
    kept.unpublished.add("id-1")
    state = progress(accepted, kept)
    assert (state.processed, state.published, state.shown) == (3, 2, 3)
    assert not state.is_complete(3)


def test_percentiles_are_values_that_occur() -> None:
    assert percentile([], 0.5) == 0.0
    assert percentile([7.0], 0.99) == 7.0
    assert percentile([float(n) for n in range(1, 101)], 0.99) == 99.0
    assert percentile([1.0, 2.0, 3.0, 4.0], 0.5) == 2.0


def test_nothing_reconciles_where_nothing_was_accepted() -> None:
    """As with an app whose sample was removed: every invoice is refused."""
    refused = [Refusal(each.number, "404", "no such route") for each in MESSAGES]
    cases: list[dict[str, Any]] = [{"refused": refused}, {"failed": refused}, {}]
    for changes in cases:
        found = figures(Kept(), Counter(), accepted={}, **changes)
        assert not found.reconciled
        assert any("nothing was accepted" in problem for problem in found.problems)


def test_nothing_reconciles_where_every_message_died() -> None:
    found = figures(Kept(inbox={each.message_id: Inbox("dead", "normal", 0.1) for each in MESSAGES}), Counter())
    assert any("nothing was processed" in problem for problem in found.problems)


def shipped(*told: str, **labels: int) -> tuple[Kept, Parcels]:
    """Orders with their labels at the carrier, and the webhooks that came of them."""
    kept = everything()
    for key in told:
        kept.inbox[f"webhook-{key}"] = Inbox("done", "normal", 0.1, "webhook:express:*", key)
    return kept, Parcels(Counter({name[1:]: number for name, number in labels.items()}), calls=5, expected=True)


def test_each_order_has_one_label_and_its_webhook() -> None:
    """Credit notes have none, and those of earlier runs count for nothing."""
    kept, parcels = shipped("1", "2", "older", _1=1, _2=1, _older=2)
    found = figures(kept, parcels=parcels)
    assert found.reconciled
    assert (found.labels, found.duplicate_labels, found.label_calls, found.webhooks_received) == (2, 0, 5, 2)


def test_a_label_that_is_missing_or_there_twice_is_named() -> None:
    kept, parcels = shipped("1", _1=3)
    found = figures(kept, parcels=parcels)
    assert (found.labels, found.duplicate_labels) == (1, 2)
    missing, twice = found.problems
    assert "1 orders have no label" in missing
    assert "order 2" not in twice
    assert "2 labels" in twice


def test_a_webhook_that_did_not_arrive_is_named() -> None:
    kept, parcels = shipped("1", _1=1, _2=1)
    (problem,) = figures(kept, parcels=parcels).problems
    assert problem.endswith("such as that of order 2")


def test_where_nobody_ships_no_label_is_missing() -> None:
    assert figures(everything(), parcels=Parcels()).reconciled


def test_an_order_of_an_earlier_run_may_have_no_label() -> None:
    """There was no carrier then, and what is a duplicate now isn't shipped now."""
    kept, parcels = shipped("1", _1=1)
    found = figures(kept, parcels=parcels, earlier=["id-2"])
    assert found.reconciled
    assert (found.labels, found.orders) == (1, 2)


def test_a_shipment_that_was_not_delivered_is_named() -> None:
    kept, parcels = shipped("1", "2", _1=1, _2=1)
    found = figures(kept, parcels=parcels, heard=Heard(1, 1, frozenset({"2"})))
    assert (found.webhooks_delivered, found.webhooks_pending) == (1, 1)
    assert found.problems == ("1 shipments weren't delivered, such as that of order 2",)
