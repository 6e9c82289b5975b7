"""What a team writes: an Integration with a handler per event type, and projections for what is read."""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, get_type_hints

from pydantic import BaseModel

from shared.changes import Feed, Late, change_event_type
from shared.environment import is_secret_name
from shared.jobs import Scheduled, WrongSchedule, parse_schedule
from shared.resilience import RetryPlan
from shared.telemetry import BusinessCounter, business_counter
from shared.webhooks import ANY_TOPIC, Scheme, WebhookSource, webhook_event_type

from .checking import check_erasable, check_key, check_name, check_version, checked_route, model_of, row_and_absence
from .declared import Notification, Rotation
from .envelope import Lane
from .feeds import feed_of, in_order, row_of
from .fields import fields_to
from .gold import Gold, Source
from .registry import Declared, Handler, Priority, Projection
from .silver import Silver
from .versions import Upcaster

__all__ = ["Integration"]

Call = TypeVar("Call", bound=Callable[..., Any])


@dataclass
class Integration(Declared):
    """A named group of handlers, projections, rotations, scheduled work; a module or package under `integrations/`.

    Example
    -------
    >>> from shared.messages import Contract
    >>> class Parcel(Contract):
    ...     parcel_id: str
    >>> parcels = Integration("parcels")
    >>> @parcels.handles("parcel.scanned", key="parcelId")
    ... async def scan(parcel: Parcel, work: object) -> None: ...
    >>> parcels.handlers[0].event_type
    'parcel.scanned'
    """

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,62}", self.name):
            raise ValueError(f"Integration({self.name!r}): use lower-case letters, digits and hyphens")

    def handles(
        self,
        event_type: str,
        *,
        version: str = "1.0",
        key: str,
        priority: Priority = Lane.NORMAL,
        route: str | None = None,
        retry: RetryPlan | None = None,
        owned: bool = False,
        internal: bool = False,
    ) -> Callable[[Call], Call]:
        """Register an async function `(model, work)` for an event type.

        Parameters
        ----------
        event_type, version:
            Together they name the contract, for example `order.placed` in `1.0`.
        key:
            The field (by its JSON name) that names the aggregate.
        priority:
            A lane, or a function of the model that returns one.
        route:
            A path under `/api` that takes this message directly, for example `orders`.
        retry:
            When a failed message is tried again; the app's own plan without.
        owned:
            Confine each key to the client that used it first: another client's message is refused. Without it every
            producer may send for every key.
        internal:
            Producers can't send it: it comes from other handlers and from polls alone.

        Raises
        ------
        TypeError
            The function isn't async, or its first parameter has no pydantic model as annotation.
        """
        return self._handles(
            event_type, version, key, priority, route=route, retry=retry, owned=owned, webhook=None, internal=internal
        )

    def _handles(
        self,
        event_type: str,
        version: str,
        key: str,
        priority: Priority,
        *,
        route: str | None,
        retry: RetryPlan | None,
        owned: bool,
        webhook: str | None,
        internal: bool = False,
        feed: Feed | None = None,
    ) -> Callable[[Call], Call]:
        def register(call: Call) -> Call:
            model = model_of(call, self.name)
            if not inspect.iscoroutinefunction(call):
                raise TypeError(f"{self.name}.{call.__name__} must be `async def`")
            check_name(event_type)
            check_version(version)
            if not (isinstance(priority, Lane) or callable(priority)):
                raise TypeError(f"{self.name}.{call.__name__}: the priority {priority!r} is no Lane, nor tells one")
            if internal and route is not None:
                raise TypeError(f"{self.name}.{call.__name__}: what producers can't send has no route")
            path = None if route is None else checked_route(route)
            try:
                *_, (last, _) = fields_to(model, key)
            except LookupError:
                raise TypeError(
                    f"{self.name}.{call.__name__}: {model.__name__} has no field {key!r} for the key"
                ) from None
            check_key(last, key.rpartition(".")[2])
            self.handlers.append(
                Handler(
                    integration=self.name,
                    event_type=event_type,
                    version=version,
                    model=model,
                    key=key,
                    priority=priority,
                    route=path,
                    retry=retry,
                    owned=owned,
                    webhook=webhook,
                    internal=internal,
                    feed=feed,
                    call=call if feed is None else in_order(call, feed),
                )
            )
            return call

        return register

    def upcasts(
        self, event_type: str, version: str, *, to: str, model: type[BaseModel] | None = None
    ) -> Callable[[Call], Call]:
        """Register a pure function from the data of an earlier version, as a dict, to that of a later one.

        Messages of the earlier version are taken and read as ever, and reach the handler of the later one. Steps are
        chained: 1.0 to 1.1, 1.1 to 2.0. What is stored stays as it was sent.

        Parameters
        ----------
        model:
            The contract of the earlier version, by which its messages are checked and described; needed where the
            later one has protected fields. Without it the function's own look-ups are the check.
        """

        def register(call: Call) -> Call:
            check_name(event_type)
            for one in (version, to):
                check_version(one)
            if inspect.iscoroutinefunction(call):
                raise TypeError(f"{self.name}.{call.__name__} must be a plain function: it does no I/O")
            self.upcasters.append(Upcaster(event_type=event_type, version=version, to=to, model=model, call=call))
            return call

        return register

    def receives(self, source: str, scheme: Scheme, *, secrets: Sequence[str] = ()) -> None:
        """Take webhooks at `POST /api/webhooks/{source}`, signed as a scheme of `shared.webhooks` says.

        Parameters
        ----------
        secrets:
            Names in the vault of what it signs with; `webhook-{source}` without.
        """
        self.webhook_sources.append(
            WebhookSource(name=source, scheme=scheme, secrets=tuple(secrets) or (f"webhook-{source}",))
        )

    def webhook(
        self,
        source: str,
        *,
        topic: str = ANY_TOPIC,
        key: str,
        priority: Priority = Lane.NORMAL,
        ordered: bool = False,
        retry: RetryPlan | None = None,
    ) -> Callable[[Call], Call]:
        """Register an async function `(model, work)` for what a source tells by webhook; the model is of its body.

        Parameters
        ----------
        source:
            One that `receives` declares, or one of `shared.webhooks.PRESETS`, whose secret is `webhook-{source}`.
        topic:
            What it is about, in the source's own words; without, whatever no other handler takes.
        key:
            The field (by its JSON name) that names the aggregate; one further down by names with dots between.
        ordered:
            What concerns one key is done in the order in which it came in.
        retry:
            When a failed message is tried again; the app's own plan without.
        """
        lane = Lane.ORDERED if ordered else priority
        event_type = webhook_event_type(source, topic)
        return self._handles(event_type, "1.0", key, lane, route=None, retry=retry, owned=False, webhook=source)

    def changes(
        self,
        table: str,
        *,
        key: str,
        row_key: str | Sequence[str] = (),
        late: Late = Late.SKIP,
        types: Mapping[str, str] | None = None,
        truncates: bool = False,
        retry: RetryPlan | None = None,
    ) -> Callable[[Call], Call]:
        """Register an async function `(change, work)` for the changes of a table; `change` is a `Change` of its row.

        Those of one key are handled one after the other, each once.

        Parameters
        ----------
        table:
            `public.customers`; `outbox.OrderCreated` for events of an outbox router, the prefix for messages in the
            log, the container for documents of Cosmos DB.
        key:
            The row's field (by its JSON name) that names the aggregate.
        row_key:
            The fields of the table's primary key, where several rows share a key: what is late is judged by row. Not
            needed where every event has its record's key in the property `key`.
        late:
            What becomes of a change that comes after a later one of its row.
        types:
            Column → Debezium's type, where events come without their schema.
        truncates:
            Truncations of the whole table come too, under the table's name as their key; else each is a dead letter.
        retry:
            When a failed change is tried again; the app's own plan without.

        Raises
        ------
        TypeError
            The function isn't async, or its first parameter isn't annotated as a `Change` of a model.
        """

        def register(call: Call) -> Call:
            row = row_of(model_of(call, self.name), f"{self.name}.{call.__name__}")
            columns = (row_key,) if isinstance(row_key, str) else tuple(row_key)
            for name in (key, *columns):
                check_key(row, name)
            feed = feed_of(row, table, key, row_key=columns, late=late, types=types or {}, truncates=truncates)
            return self._handles(
                change_event_type(table),
                "1.0",
                "key",
                Lane.ORDERED,
                route=None,
                retry=retry,
                owned=False,
                webhook=None,
                internal=True,
                feed=feed,
            )(call)

        return register

    def projects(
        self,
        event_type: str,
        *,
        into: str,
        find_by: Sequence[str | Sequence[str]] | None = None,
        key: str | None = None,
    ) -> Callable[[Call], Call]:
        """Register a pure function from a published event to the row of the read model `into`.

        `GET /api/<into>/{key}` answers with the newest row; the row replaces the one before, so that a
        event delivered twice changes nothing.

        With a second parameter, the row so far or None, events of several types make one row together: each event of a
        key is applied once, in the order in which the key's events were published. A function that may return None
        deletes the row by it.

        Parameters
        ----------
        find_by:
            The indexes by which `GET /api/<into>` finds and orders rows: names of fields (by their JSON names), or
            several in their order; `-placedAt` has the greatest first. Without it rows are read by their key only.
        key:
            The row's field that holds its key; without, the one that is the key of a command of this integration.
        """

        def register(call: Call) -> Call:
            check_name(event_type)
            if not re.fullmatch(r"[a-z][a-z0-9-]{0,62}", into):
                raise ValueError(f"read model {into!r}: use lower-case letters, digits and hyphens")
            model = model_of(call, self.name)
            if inspect.iscoroutinefunction(call):
                raise TypeError(f"{self.name}.{call.__name__} must be a plain function: a projection does no I/O")
            hints, parameters = get_type_hints(call), list(inspect.signature(call).parameters)
            shown, deletes = row_and_absence(hints.get("return"))
            folds = len(parameters) == 2
            if folds and (shown is None or row_and_absence(hints.get(parameters[1])) != (shown, True)):
                raise TypeError(
                    f"{self.name}.{call.__name__}: annotate its second parameter, the row so far, and what it returns: "
                    "both with the row's model, the parameter with `| None`"
                )
            for checked in (model, shown):
                if checked is not None:
                    check_erasable(checked)
            self.projections.append(
                Projection(
                    event_type=event_type,
                    view=into,
                    model=model,
                    shown=shown,
                    find_by=None
                    if find_by is None
                    else tuple(one if isinstance(one, str) else (*one,) for one in find_by),
                    key=key,
                    folds=folds,
                    deletes=deletes,
                    call=call,
                )
            )
            return call

        return register

    def notifies(self, event_type: str, *, with_data: bool = False) -> None:
        """Have a published event go to the topic of Event Grid that `SLUICE_NOTIFICATION_URL` names.

        Parameters
        ----------
        with_data:
            Its data too, as the event log has it: protected fields stay encrypted. Without, subscribers learn the type,
            the key and the time.
        """
        check_name(event_type)
        self.notifications.append(Notification(event_type=event_type, with_data=with_data))

    def counts(
        self, name: str, *, by: Iterable[str] = (), unit: str = "{message}", description: str = ""
    ) -> BusinessCounter:
        """Declare a metric that handlers count with `work.count`: what a message counted, counts once it is done.

        Parameters
        ----------
        name:
            Below the integration's own: `placed` of `orders` is `orders.placed`.
        by:
            The attributes that each count has, of few values each, such as a country.
        unit:
            `{order}`, `s`, `By`, `1`, or a currency such as `EUR`.

        Raises
        ------
        ValueError
            A name or the unit isn't well-formed, an attribute is called as a parameter of `work.count`, or the metric
            is there already with another unit or description.
        """
        return business_counter(self.name, name, by=by, unit=unit, description=description)

    def every(
        self, schedule: str, *, name: str, zone: str = "UTC", between: str = "", catch_up: bool = True
    ) -> Callable[[Call], Call]:
        """Register an async function `(run)` that one instance at a time runs by the clock.

        Parameters
        ----------
        schedule:
            An interval such as `5m`, or NCRONTAB, for example `0 30 2 * * *`.
        name:
            Of the job, together with the integration's: `orders.missed-scans`.
        zone:
            The clock that cron and window go by, for example `Europe/Berlin`.
        between:
            `22:00-06:00`: it runs within these hours only.
        catch_up:
            What came due while nothing ran is done once, as soon as something runs; without, it waits for its next
            time.

        Raises
        ------
        WrongSchedule
            The schedule can't be followed; the message names the job.
        """
        try:
            parsed = parse_schedule(schedule, zone=zone, between=between)
        except WrongSchedule as error:
            raise WrongSchedule(f"{self.name}.{name}: {error}") from None
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,62}", name):
            raise ValueError(f"{self.name}: the job {name!r}: use lower-case letters, digits and hyphens")

        def register(call: Call) -> Call:
            if not inspect.iscoroutinefunction(call):
                raise TypeError(f"{self.name}: what runs as {name} must be `async def`")
            self.scheduled.append(Scheduled(name=f"{self.name}.{name}", schedule=parsed, call=call, catch_up=catch_up))
            return call

        return register

    def silver(
        self, event_type: str, model: type[BaseModel], *, version: str = "1.0", tables: Sequence[str] = ()
    ) -> None:
        """Have a published event kept as rows of the lake's table `silver.<event type>`, typed from its model.

        Parameters
        ----------
        version:
            Of the event. Versions of one line (1.0, 1.1) share a table; a new line is a new one.
        tables:
            Fields that are lists of models, and get a table of their own: `lines` of `order.accepted` is
            `silver.order_accepted_lines`.

        Raises
        ------
        TypeError, ValueError
            The declaration can't be followed; the message names it.
        """
        check_name(event_type)
        self.silvers.append(Silver(event_type, version, model, (*tables,)))

    def gold(
        self, name: str, *, every: str, keys: Sequence[str], row: type[BaseModel], reads: Sequence[Source]
    ) -> Callable[[Call], Call]:
        """Register the function that makes the rows of the lake's table `gold.<name>` from silver tables.

        Without parameters it returns SQL, one SELECT over the sources' names in DuckDB's dialect; with parameters it
        takes the Arrow tables (arro3) of the sources that they name, and returns one. What changed in silver is
        computed again and replaced.

        Parameters
        ----------
        every:
            How often, as the method `every` has its schedule.
        keys:
            The columns that name a row. Where the first is a date, and each source has a `day`, only days that changed
            are computed; what is returned for a day may depend on the rows of that day alone.
        row:
            The model of a row: its fields are the columns. A `Decimal` states its digits and places.
        reads:
            The silver tables, and what of them.

        Raises
        ------
        TypeError, ValueError, WrongSchedule
            The declaration can't be followed; the message names it.
        """
        try:
            schedule = parse_schedule(every)
        except WrongSchedule as error:
            raise WrongSchedule(f"{self.name}.{name}: {error}") from None

        def register(call: Call) -> Call:
            self.golds.append(
                Gold(
                    integration=self.name,
                    name=name,
                    schedule=schedule,
                    keys=(*keys,),
                    row=row,
                    sources=(*reads,),
                    call=call,
                )
            )
            return call

        return register

    def rotates(self, secret: str) -> Callable[[Call], Call]:
        """Register an async function from the current version of a secret to the value of the next one.

        It is called when the vault tells that the current version is about to expire. The value is stored, read back
        and put on record for it, and the version before stays valid for a while.
        """

        def register(call: Call) -> Call:
            if not is_secret_name(secret):
                raise ValueError(f"secret {secret!r}: use letters, digits and hyphens")
            if not inspect.iscoroutinefunction(call):
                raise TypeError(f"{self.name}: what renews {secret} must be `async def`")
            self.rotations.append(Rotation(secret=secret, call=call))
            return call

        return register
