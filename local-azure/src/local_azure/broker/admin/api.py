"""Answers the management API's requests: which entity, which operation, which answer. No I/O of its own.

Source: "Service Bus resource manager, Atom feeds" as the official SDKs speak it (api-version 2017-04 and 2021-05).
Credentials are not looked at, as the emulator has no secrets to keep.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar
from urllib.parse import quote, urlencode
from xml.etree.ElementTree import Element

from local_azure.broker.admin import atom
from local_azure.broker.admin.descriptions import changed, created, queue_element, subscription_element, topic_element
from local_azure.broker.admin.errors import RequestError, bad_request, not_found
from local_azure.broker.admin.rules import read_rule, rule_element
from local_azure.broker.administration import (
    AdministrationError,
    EntityAlreadyExistsError,
    EntityNotFoundError,
)
from local_azure.broker.catalogue import Catalogue
from local_azure.broker.entities import (
    DEFAULT_RULE,
    QueueDescription,
    RuleDescription,
    SubscriptionDescription,
    TopicDescription,
    entity_key,
)
from local_azure.broker.forwarding import forwarding_edges, leads_back

__all__ = ["AdminApi", "AdminRequest", "AdminResponse"]

_MAX_PAGE = 100
_Item = TypeVar("_Item")
_RESOURCE = re.compile(
    r"(?P<topic>.+?)/subscriptions(?:/(?P<subscription>[^/]+)(?P<rules>/rules(?:/(?P<rule>[^/]+))?)?)?", re.IGNORECASE
)


@dataclass(frozen=True, kw_only=True, slots=True)
class AdminRequest:
    """An HTTP request: `path` is decoded, names of `query` and `headers` are in lower case."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    host: str = "localhost"
    scheme: str = "http"

    @property
    def is_update(self) -> bool:
        """Whether a PUT is to change what is there, rather than to create it."""
        return "if-match" in self.headers

    def url(self, path: str, **query: object) -> str:
        """The address of an entity of this namespace."""
        parameters = {**query, "api-version": self.query.get("api-version", "2021-05")}
        address = quote(path, safe="/$")  # clients read names such as $Default from it as they stand
        return f"{self.scheme}://{self.host}/{address}?{urlencode(parameters, safe='$')}"


@dataclass(frozen=True, slots=True)
class AdminResponse:
    """An HTTP answer: an Atom document, an error document, or nothing."""

    status: int
    body: bytes = b""
    content_type: str = "application/atom+xml"


class AdminApi:
    """The management API of one namespace."""

    def __init__(self, catalogue: Catalogue, *, name: str, started_at: datetime) -> None:
        self._catalogue = catalogue
        self._name = name
        self._started_at = started_at

    async def handle(self, request: AdminRequest) -> AdminResponse:
        """Answer one request; whatever is wrong with it becomes an error document."""
        try:
            return await self._route(request)
        except RequestError as error:
            return _error(error)
        except EntityNotFoundError as error:
            return _error(not_found(str(error)))
        except EntityAlreadyExistsError as error:
            return _error(RequestError(409, 40900, str(error)))
        except AdministrationError as error:
            return _error(bad_request(str(error)))

    async def _route(self, request: AdminRequest) -> AdminResponse:
        path = request.path.strip("/")
        if path.lower() == "$namespaceinfo":
            return self._namespace(_only(request, "GET"))
        if path.lower().startswith("$resources/"):
            return self._list_entities(_only(request, "GET"), path.partition("/")[2].lower())
        resource = _RESOURCE.fullmatch(path)
        if resource is None:
            return await self._entity(request, path)
        topic, subscription = resource["topic"], resource["subscription"]
        if subscription is None:
            return self._list_subscriptions(_only(request, "GET"), topic)
        if resource["rules"] is None:
            return await self._subscription(request, topic, subscription)
        if resource["rule"] is None:
            return self._list_rules(_only(request, "GET"), topic, subscription)
        return await self._rule(request, topic, subscription, resource["rule"])

    # -- queues and topics ------------------------------------------------------------------------------

    async def _entity(self, request: AdminRequest, name: str) -> AdminResponse:
        if not name:
            raise not_found("The path names no entity")
        if request.method == "GET":
            return _answer(self._found(request, name))
        if request.method == "PUT":
            return await self._put_entity(request, name, atom.content_of(request.body))
        _only(request, "DELETE")
        if self._is_topic(name):
            await self._catalogue.delete(self._catalogue.topic(name))
        else:
            await self._catalogue.delete(self._catalogue.queue(name))
        return AdminResponse(200)

    async def _put_entity(self, request: AdminRequest, name: str, element: Element) -> AdminResponse:
        kind = atom.local_name(element)
        if kind == "QueueDescription":
            return await self._put_queue(request, name, element)
        if kind == "TopicDescription":
            return await self._put_topic(request, name, element)
        raise bad_request(f"The content is a {kind}, not a QueueDescription or TopicDescription")

    async def _put_queue(self, request: AdminRequest, name: str, element: Element) -> AdminResponse:
        catalogue = self._catalogue
        if request.is_update:
            queue = changed(catalogue.queue(name), element)
            self._check_forwarding(queue)
            queue = await catalogue.update(queue)
        else:
            queue = created(QueueDescription, element, name=name)
            self._check_forwarding(queue)
            queue = await catalogue.create(queue)
        return _answer(self._queue_entry(request, queue), status=_put_status(request))

    async def _put_topic(self, request: AdminRequest, name: str, element: Element) -> AdminResponse:
        catalogue = self._catalogue
        if request.is_update:
            topic = await catalogue.update(changed(catalogue.topic(name), element))
        else:
            topic = await catalogue.create(created(TopicDescription, element, name=name))
        return _answer(self._topic_entry(request, topic), status=_put_status(request))

    def _found(self, request: AdminRequest, name: str) -> atom.Entry:
        if self._is_topic(name):
            return self._topic_entry(request, self._catalogue.topic(name))
        return self._queue_entry(request, self._catalogue.queue(name))

    def _is_topic(self, name: str) -> bool:
        try:
            self._catalogue.topic(name)
        except EntityNotFoundError:
            return False
        return True

    def _queue_entry(self, request: AdminRequest, queue: QueueDescription) -> atom.Entry:
        counts = self._catalogue.counts(queue)
        element = queue_element(queue, counts, request.host)
        return atom.Entry(queue.name, request.url(queue.name), element, counts.created_at, counts.updated_at)

    def _topic_entry(self, request: AdminRequest, topic: TopicDescription) -> atom.Entry:
        counts = self._catalogue.counts(topic)
        element = topic_element(topic, counts, request.host)
        return atom.Entry(topic.name, request.url(topic.name), element, counts.created_at, counts.updated_at)

    # -- subscriptions ----------------------------------------------------------------------------------

    async def _subscription(self, request: AdminRequest, topic: str, name: str) -> AdminResponse:
        catalogue = self._catalogue
        if request.method == "GET":
            return _answer(self._subscription_entry(request, catalogue.subscription(topic, name)))
        if request.method == "DELETE":
            await catalogue.delete(catalogue.subscription(topic, name))
            return AdminResponse(200)
        element = atom.content_of(_only(request, "PUT").body)
        if atom.local_name(element) != "SubscriptionDescription":
            raise bad_request(f"The content is a {atom.local_name(element)}, not a SubscriptionDescription")
        if request.is_update:
            subscription = changed(catalogue.subscription(topic, name), element)
            self._check_forwarding(subscription)
            subscription = await catalogue.update(subscription)
        else:
            topic_name, rules = catalogue.topic(topic).name, _first_rules(element)
            subscription = created(SubscriptionDescription, element, topic_name=topic_name, name=name, rules=rules)
            self._check_forwarding(subscription)
            subscription = await catalogue.create(subscription)
        return _answer(self._subscription_entry(request, subscription), status=_put_status(request))

    def _subscription_entry(self, request: AdminRequest, subscription: SubscriptionDescription) -> atom.Entry:
        counts = self._catalogue.counts(subscription)
        element = subscription_element(subscription, counts, request.host)
        url = request.url(subscription.path)
        return atom.Entry(subscription.name, url, element, counts.created_at, counts.updated_at)

    # -- rules ------------------------------------------------------------------------------------------

    async def _rule(self, request: AdminRequest, topic: str, subscription: str, name: str) -> AdminResponse:
        catalogue = self._catalogue
        if request.method == "GET":
            rule = catalogue.rule(topic, subscription, name)
        elif request.method == "DELETE":
            await catalogue.delete_rule(topic, subscription, name)
            return AdminResponse(200)
        else:
            element = atom.content_of(_only(request, "PUT").body)
            if atom.local_name(element) != "RuleDescription":
                raise bad_request(f"The content is a {atom.local_name(element)}, not a RuleDescription")
            put = catalogue.update_rule if request.is_update else catalogue.create_rule
            rule = await put(topic, subscription, read_rule(element, name))
        status = 200 if request.method == "GET" else _put_status(request)
        return _answer(self._rule_entry(request, catalogue.subscription(topic, subscription), rule), status=status)

    def _rule_entry(
        self, request: AdminRequest, subscription: SubscriptionDescription, rule: RuleDescription
    ) -> atom.Entry:
        counts = self._catalogue.counts(subscription)
        url = request.url(f"{subscription.path}/Rules/{rule.name}")
        element = rule_element(rule, counts.created_at)
        return atom.Entry(rule.name, url, element, counts.created_at, counts.updated_at)

    # -- lists ------------------------------------------------------------------------------------------

    def _list_entities(self, request: AdminRequest, kind: str) -> AdminResponse:
        catalogue = self._catalogue
        if kind == "queues":
            return self._page(request, "Queues", catalogue.queues(), self._queue_entry)
        if kind == "topics":
            return self._page(request, "Topics", catalogue.topics(), self._topic_entry)
        raise not_found(f"There is no list of {kind}; ask for queues or topics")

    def _list_subscriptions(self, request: AdminRequest, topic: str) -> AdminResponse:
        subscriptions = self._catalogue.subscriptions(topic)
        return self._page(request, "Subscriptions", subscriptions, self._subscription_entry)

    def _list_rules(self, request: AdminRequest, topic: str, subscription: str) -> AdminResponse:
        owner = self._catalogue.subscription(topic, subscription)
        rules = self._catalogue.rules(topic, subscription)
        return self._page(request, "Rules", rules, lambda request, rule: self._rule_entry(request, owner, rule))

    def _page(
        self,
        request: AdminRequest,
        title: str,
        items: Sequence[_Item],
        entry: Callable[[AdminRequest, _Item], atom.Entry],
    ) -> AdminResponse:
        """One page of a list, with a link to the next one if there is more."""
        path = request.path.strip("/")
        skip, top = _page_bounds(request)
        entries = [entry(request, item) for item in items[skip : skip + top]]
        rest = None
        if skip + top < len(items):
            rest = request.url(path, **{"$skip": skip + top, "$top": top})
        url = request.url(path, **{"$skip": skip, "$top": top})
        now = datetime.now(UTC)
        return AdminResponse(200, atom.feed(title, url, entries, next_url=rest, updated=now))

    # -- the rest ---------------------------------------------------------------------------------------

    def _namespace(self, request: AdminRequest) -> AdminResponse:
        element = atom.description("NamespaceInfo")
        for name, text in (
            ("CreatedTime", atom.format_time(self._started_at)),
            ("MessagingSKU", "Standard"),
            ("ModifiedTime", atom.format_time(self._started_at)),
            ("Name", self._name),
            ("NamespaceType", "Messaging"),
        ):
            atom.add(element, name, text)
        url = request.url("$namespaceinfo")
        return _answer(atom.Entry(self._name, url, element, self._started_at, self._started_at))

    def _check_forwarding(self, entity: QueueDescription | SubscriptionDescription) -> None:
        """Refuse targets that are not there, and forwarding that comes back."""
        catalogue = self._catalogue
        targets = {entity_key(queue.name) for queue in catalogue.queues()}
        targets |= {entity_key(topic.name) for topic in catalogue.topics()}
        for target in (entity.forward_to, entity.forward_dead_lettered_messages_to):
            if target is not None and entity_key(target) not in targets:
                raise bad_request(f"The forwarding target {target!r} does not exist")
        subscriptions = (found for topic in catalogue.topics() for found in catalogue.subscriptions(topic.name))
        if leads_back(entity, forwarding_edges((*catalogue.queues(), *subscriptions))):
            raise bad_request(f"Forwarding to {entity.forward_to!r} would lead back to where it starts")


def _first_rules(element: Element) -> tuple[RuleDescription, ...]:
    """The rule that a new subscription asks for, or the default one."""
    found = atom.child(element, "DefaultRuleDescription")
    if found is None:
        return (RuleDescription(),)
    name = atom.child(found, "Name")
    return (read_rule(found, (name.text if name is not None else None) or DEFAULT_RULE),)


def _page_bounds(request: AdminRequest) -> tuple[int, int]:
    bounds = []
    for name, default in (("$skip", 0), ("$top", _MAX_PAGE)):
        text = request.query.get(name, str(default))
        if not re.fullmatch(r"[0-9]{1,9}", text):
            raise bad_request(f"{name} is a whole number, not {text[:20]!r}")
        bounds.append(int(text))
    return bounds[0], max(1, min(bounds[1], _MAX_PAGE))


def _only(request: AdminRequest, method: str) -> AdminRequest:
    if request.method != method:
        raise RequestError(405, 40500, f"{request.method} is not possible here")
    return request


def _put_status(request: AdminRequest) -> int:
    return 200 if request.is_update else 201


def _answer(entry: atom.Entry, *, status: int = 200) -> AdminResponse:
    return AdminResponse(status, atom.write_entry(entry), "application/atom+xml;type=entry")


def _error(error: RequestError) -> AdminResponse:
    body = atom.error_document(error.status, error.sub_code, error.detail)
    return AdminResponse(error.status, body, "application/xml")
