"""Things, as much of AWS IoT's registry as jobs need. Source: botocore's ``iot`` model."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from bridge.lab.jobs_limits import invalid
from bridge.lab.jobs_store import JobsStore
from bridge.lab.rest_paging import page
from bridge.lab.rest_values import thing_body

REFUSED_MEMBERS: Final = ("thingTypeName", "attributePayload", "billingGroupName")
"""Of CreateThing: things have none of it here."""
Attached = Callable[[str], Sequence[str]]
"""Gives the ARNs of the certificates that are attached to a thing."""


class ThingsRest:
    """Handlers over a store.

    Args:
        store: The jobs.
        mqtt_endpoint: ``host:port`` that DescribeEndpoint names.
        attached: A thing's certificates, as long as which it cannot be deleted.
    """

    def __init__(
        self, store: JobsStore, mqtt_endpoint: Callable[[], str], attached: Attached | None = None
    ) -> None:
        self._store = store
        self._attached = attached or (lambda _thing: ())
        self._mqtt_endpoint = mqtt_endpoint
        self.handlers = {
            "DescribeEndpoint": self.describe_endpoint,
            "CreateThing": self.create,
            "DescribeThing": self.describe,
            "ListThings": self.list,
            "DeleteThing": self.delete,
        }

    def describe_endpoint(self, _members: Mapping[str, Any]) -> Mapping[str, object]:
        """Where devices connect."""
        return {"endpointAddress": self._mqtt_endpoint()}

    def create(self, members: Mapping[str, Any]) -> Mapping[str, object]:
        """CreateThing; idempotent."""
        if asked := [name for name in REFUSED_MEMBERS if members.get(name)]:
            raise invalid(f"not emulated by the local cloud: {', '.join(asked)}")
        self._store.add_thing(members["thingName"])
        return thing_body(members["thingName"])

    def describe(self, members: Mapping[str, Any]) -> Mapping[str, object]:
        """DescribeThing."""
        name = members["thingName"]
        self._store.require_thing(name)
        return {**thing_body(name), "defaultClientId": name, "attributes": {}, "version": 1}

    def list(self, members: Mapping[str, Any]) -> Mapping[str, object]:
        """ListThings."""
        shown, more = page(sorted(self._store.things), str, members, "things")
        things = [
            {key: value for key, value in thing_body(name).items() if key != "thingId"} for name in shown
        ]
        return {"things": [{**thing, "attributes": {}, "version": 1} for thing in things], **more}

    def delete(self, members: Mapping[str, Any]) -> Mapping[str, object]:
        """DeleteThing; one that is not there is no error."""
        name = members["thingName"]
        if name in self._store.things:
            if self._attached(name):
                raise invalid(f"Cannot delete. Thing {name} is still attached to one or more principals")
            self._store.remove_thing(name)
        return {}
