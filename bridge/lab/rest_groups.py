"""Static thing groups over AWS IoT's control plane. Source: botocore's ``iot`` model (members, errors)."""

from collections.abc import Mapping
from typing import Any

from bridge.lab.jobs_limits import invalid
from bridge.lab.jobs_model import ThingGroup
from bridge.lab.jobs_store import JobsStore
from bridge.lab.rest_paging import page
from bridge.lab.rest_values import group_arn, group_of_arn, read_tags, thing_of_arn


class GroupsRest:
    """Handlers over a store."""

    def __init__(self, store: JobsStore) -> None:
        self._groups = store.groups
        self.handlers = {
            "CreateThingGroup": self.create,
            "DescribeThingGroup": self.describe,
            "ListThingGroups": self.list,
            "UpdateThingGroup": self.update,
            "DeleteThingGroup": self.delete,
            "AddThingToThingGroup": self.add,
            "RemoveThingFromThingGroup": self.remove,
            "UpdateThingGroupsForThing": self.update_for_thing,
            "ListThingsInThingGroup": self.list_things,
            "ListThingGroupsForThing": self.list_for_thing,
        }

    def create(self, members: Mapping[str, Any]) -> Mapping[str, object]:
        """CreateThingGroup."""
        properties = members.get("thingGroupProperties", {})
        group = self._groups.create(
            members["thingGroupName"],
            parent=members.get("parentGroupName"),
            description=properties.get("thingGroupDescription"),
            attributes=(properties.get("attributePayload") or {}).get("attributes"),
            tags=read_tags(members.get("tags", ())),
        )
        return _reference(group)

    def describe(self, members: Mapping[str, Any]) -> Mapping[str, object]:
        """DescribeThingGroup."""
        group = self._groups.describe(members["thingGroupName"])
        properties: dict[str, object] = {"attributePayload": {"attributes": dict(group.attributes)}}
        if group.description is not None:
            properties["thingGroupDescription"] = group.description
        metadata: dict[str, object] = {"creationDate": group.created_at}
        if group.parent is not None:
            metadata["parentGroupName"] = group.parent
            metadata["rootToParentThingGroups"] = [
                _name_and_arn(one.name) for one in self._groups.ancestors(group.name)
            ]
        return {
            **_reference(group),
            "version": group.version,
            "thingGroupProperties": properties,
            "thingGroupMetadata": metadata,
        }

    def list(self, members: Mapping[str, Any]) -> Mapping[str, object]:
        """ListThingGroups."""
        prefix = members.get("namePrefixFilter", "")
        groups = self._groups.list_all(parent=members.get("parentGroup"), recursive=members.get("recursive"))
        names = [group.name for group in groups if group.name.startswith(prefix)]
        shown, more = page(names, str, members, "groups")
        return {"thingGroups": [_name_and_arn(name) for name in shown], **more}

    def update(self, members: Mapping[str, Any]) -> Mapping[str, object]:
        """UpdateThingGroup."""
        properties = members["thingGroupProperties"]
        payload = properties.get("attributePayload") or {}
        group = self._groups.update(
            members["thingGroupName"],
            description=properties.get("thingGroupDescription"),
            attributes=payload.get("attributes"),
            merge=payload.get("merge", False),
            expected_version=members.get("expectedVersion"),
        )
        return {"version": group.version}

    def delete(self, members: Mapping[str, Any]) -> Mapping[str, object]:
        """DeleteThingGroup."""
        self._groups.delete(members["thingGroupName"], expected_version=members.get("expectedVersion"))
        return {}

    def add(self, members: Mapping[str, Any]) -> Mapping[str, object]:
        """AddThingToThingGroup."""
        self._groups.add_thing(_group(members), _thing(members))
        return {}

    def remove(self, members: Mapping[str, Any]) -> Mapping[str, object]:
        """RemoveThingFromThingGroup."""
        self._groups.remove_thing(_group(members), _thing(members))
        return {}

    def update_for_thing(self, members: Mapping[str, Any]) -> Mapping[str, object]:
        """UpdateThingGroupsForThing."""
        thing = _thing(members)
        for name in members.get("thingGroupsToRemove", ()):
            self._groups.remove_thing(name, thing)
        for name in members.get("thingGroupsToAdd", ()):
            self._groups.add_thing(name, thing)
        return {}

    def list_things(self, members: Mapping[str, Any]) -> Mapping[str, object]:
        """ListThingsInThingGroup."""
        found = self._groups.members(members["thingGroupName"], recursive=members.get("recursive", False))
        shown, more = page(sorted(found), str, members, "members")
        return {"things": shown, **more}

    def list_for_thing(self, members: Mapping[str, Any]) -> Mapping[str, object]:
        """ListThingGroupsForThing."""
        shown, more = page(self._groups.groups_of(members["thingName"]), str, members, "memberships")
        return {"thingGroups": [_name_and_arn(name) for name in shown], **more}


def _reference(group: ThingGroup) -> dict[str, object]:
    return {
        "thingGroupName": group.name,
        "thingGroupArn": group_arn(group.name),
        "thingGroupId": group.group_id,
    }


def _name_and_arn(name: str) -> dict[str, str]:
    return {"groupName": name, "groupArn": group_arn(name)}


def _thing(members: Mapping[str, Any]) -> str:
    return _one(members, "thingName", "thingArn", thing_of_arn)


def _group(members: Mapping[str, Any]) -> str:
    return _one(members, "thingGroupName", "thingGroupArn", group_of_arn)


def _one(members: Mapping[str, Any], name: str, arn: str, of_arn: Any) -> str:
    found = {members[name]} if name in members else set()
    if arn in members:
        found.add(of_arn(members[arn]))
    if len(found) != 1 or None in found:
        raise invalid(f"{name} or {arn} is needed; both only if they mean the same")
    return str(found.pop())
