"""Static thing groups: hierarchy, members, and what a change of members means to continuous jobs.

Source: AWS IoT Developer Guide, "Static thing groups" (one parent, set at creation; a thing in at most ten groups and in one
group of a hierarchy; a group with children cannot be deleted), "How job configurations work" (things that come into a group
later get a continuous job at once, at no rate, with all retries) and "Jobs and job execution states" (QUEUED becomes REMOVED
when the thing leaves the target group).
"""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from bridge.lab.aws_shapes import service
from bridge.lab.jobs_limits import check_thing_name, invalid
from bridge.lab.jobs_membership import offer, withdraw
from bridge.lab.jobs_model import (
    GROUP_PREFIX,
    Job,
    JobsRejectedError,
    JobStatus,
    RejectionCode,
    ThingGroup,
)
from bridge.lab.jobs_state import JobsState

MAX_GROUPS_OF_A_THING: Final = 10
_ALIVE: Final = frozenset({JobStatus.SCHEDULED, JobStatus.IN_PROGRESS})


class GroupsPlane:
    """What an operator may do with thing groups."""

    def __init__(self, state: JobsState) -> None:
        self._state = state
        self._tables = state.tables

    def create(
        self,
        name: str,
        *,
        parent: str | None = None,
        description: str | None = None,
        attributes: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> ThingGroup:
        """Create a group; the very same one again is no error.

        Raises:
            JobsRejectedError: InvalidRequest (names; no such parent) or ResourceAlreadyExists.
        """
        service("iot").check("ThingGroupName", name, "thingGroupName")
        with self._state.transaction() as now:
            if parent is not None and parent not in self._tables.groups:
                raise invalid(f"there is no thing group {parent} to be the parent")
            old = self._tables.groups.get(name)
            wanted = (parent, description, dict(attributes or {}))
            if old is not None:
                if (old.parent, old.description, dict(old.attributes)) != wanted:
                    raise JobsRejectedError(
                        RejectionCode.RESOURCE_ALREADY_EXISTS,
                        f"thing group {name} exists already and is another one",
                    )
                return old
            group_id = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{name}@{now}"))
            group = ThingGroup(name, group_id, now, *wanted)
            self._tables.put_group(group)
            self._tables.put_tags(GROUP_PREFIX + name, tags or {})
            return group

    def describe(self, name: str) -> ThingGroup:
        """Give a group or raise ResourceNotFound."""
        with self._state.transaction():
            return self._group(name)

    def ancestors(self, name: str) -> list[ThingGroup]:
        """The groups above a group, from the root down."""
        with self._state.transaction():
            return [self._group(one) for one in reversed(self._line(name)[1:])]

    def list_all(self, *, parent: str | None = None, recursive: bool | None = None) -> list[ThingGroup]:
        """Groups by name: those below ``parent`` (all, or direct children only), or all, or with recursive=False the roots."""
        with self._state.transaction():
            groups = sorted(self._tables.groups.values(), key=lambda group: group.name)
            if parent is None:
                return [group for group in groups if recursive is not False or group.parent is None]
            self._group(parent)
            return [
                group
                for group in groups
                if (parent in self._line(group.name)[1:] if recursive else group.parent == parent)
            ]

    def update(
        self,
        name: str,
        *,
        description: str | None = None,
        attributes: Mapping[str, str] | None = None,
        merge: bool = False,
        expected_version: int | None = None,
    ) -> ThingGroup:
        """Change what is said about a group; gives it with its new version."""
        with self._state.transaction():
            old = self._group(name)
            _check_version(old, expected_version)
            new = dict(old.attributes) if attributes is None or merge else {}
            new |= attributes or {}
            changed = replace(
                old,
                description=old.description if description is None else description,
                attributes={key: value for key, value in new.items() if value},
                version=old.version + 1,
            )
            self._tables.put_group(changed)
            return changed

    def delete(self, name: str, *, expected_version: int | None = None) -> None:
        """Delete a group, not its things; one that is not there is no error.

        Raises:
            JobsRejectedError: InvalidRequest (it has child groups) or VersionConflict.
        """
        with self._state.transaction() as now:
            if (group := self._tables.groups.get(name)) is None:
                return
            _check_version(group, expected_version)
            if any(other.parent == name for other in self._tables.groups.values()):
                raise invalid(f"thing group {name} has child groups")
            for thing in self._members(name):
                self._leave(thing, name, now)
            self._tables.drop_group(name)
            self._tables.put_tags(GROUP_PREFIX + name, {})

    def add_thing(self, name: str, thing_name: str) -> None:
        """Put a thing into a group, where running continuous jobs wait for it; already in it is no error.

        Raises:
            JobsRejectedError: ResourceNotFound, or InvalidRequest (ten groups, or another group of the same hierarchy).
        """
        with self._state.transaction() as now:
            self._tables.require_thing(check_thing_name(thing_name))
            self._group(name)
            groups = self._tables.memberships.get(thing_name, ())
            if name in groups:
                return
            if len(groups) >= MAX_GROUPS_OF_A_THING:
                raise invalid(f"thing {thing_name} is in {MAX_GROUPS_OF_A_THING} groups already")
            root = self._line(name)[-1]
            if clash := [one for one in groups if self._line(one)[-1] == root]:
                raise invalid(f"thing {thing_name} is in {clash[0]}, of the same hierarchy, already")
            self._tables.put_membership(thing_name, (*groups, name))
            above = set(self._line(name))
            for job in self._continuous():
                if above.intersection(job.groups):
                    offer(self._state, job, thing_name, now)

    def remove_thing(self, name: str, thing_name: str) -> None:
        """Take a thing out of a group; what continuous jobs have queued there becomes REMOVED."""
        with self._state.transaction() as now:
            self._tables.require_thing(check_thing_name(thing_name))
            self._group(name)
            self._leave(thing_name, name, now)

    def groups_of(self, thing_name: str) -> list[str]:
        """Names of the groups in which a thing is."""
        with self._state.transaction():
            self._tables.require_thing(thing_name)
            return sorted(self._tables.memberships.get(thing_name, ()))

    def members(self, name: str, *, recursive: bool = False) -> list[str]:
        """Names of the things in a group, or (recursive) also in the groups below it."""
        with self._state.transaction():
            self._group(name)
            return self._members(name, recursive=recursive)

    def existing(self, names: Iterable[str]) -> list[str]:
        """Those of some groups that (still) exist."""
        with self._state.transaction():
            return [name for name in names if name in self._tables.groups]

    def resolve(self, targets: Iterable[str]) -> tuple[str, ...]:
        """The things behind a job's targets, each once; inside a transaction.

        Raises:
            JobsRejectedError: ResourceNotFound.
        """
        things: dict[str, None] = {}
        for target in targets:
            if target.startswith(GROUP_PREFIX):
                name = target.removeprefix(GROUP_PREFIX)
                self._group(name)
                things |= dict.fromkeys(self._members(name, recursive=True))
            else:
                self._tables.require_thing(target)
                things[target] = None
        return tuple(things)

    def _group(self, name: str) -> ThingGroup:
        if (group := self._tables.groups.get(name)) is None:
            raise JobsRejectedError(RejectionCode.RESOURCE_NOT_FOUND, f"there is no thing group {name}")
        return group

    def _line(self, name: str) -> list[str]:
        """A group and those above it, up to the root."""
        line = [name]
        while (parent := self._tables.groups[line[-1]].parent) is not None:
            line.append(parent)
        return line

    def _members(self, name: str, *, recursive: bool = False) -> list[str]:
        return [
            thing
            for thing, groups in self._tables.memberships.items()
            if name in groups or (recursive and any(name in self._line(one) for one in groups))
        ]

    def _leave(self, thing_name: str, name: str, now: float) -> None:
        groups = self._tables.memberships.get(thing_name, ())
        left = tuple(one for one in groups if one != name)
        self._tables.put_membership(thing_name, left)
        reached = {above for one in left for above in self._line(one)}
        for job in self._continuous():
            targeted = thing_name in job.targets or reached.intersection(job.groups)
            if name in groups and not targeted:
                withdraw(self._state, job, thing_name, now)

    def _continuous(self) -> list[Job]:
        return [
            job
            for job in self._tables.jobs.values()
            if job.continuous and job.status in _ALIVE and not job.ended
        ]


def _check_version(group: ThingGroup, expected: int | None) -> None:
    if expected is not None and expected != group.version:
        raise JobsRejectedError(
            RejectionCode.VERSION_CONFLICT,
            f"expected version {expected}, but {group.name} is at version {group.version}",
        )
