"""Tags of jobs and thing groups. Source: TagResource, UntagResource and ListTagsForResource of botocore's ``iot`` model."""

from collections.abc import Iterable, Mapping
from typing import Final

from bridge.lab.jobs_limits import invalid
from bridge.lab.jobs_model import GROUP_PREFIX, JobsRejectedError, RejectionCode
from bridge.lab.jobs_state import JobsState

MAX_TAGS: Final = 50
"""AWS General Reference, tag restrictions."""


class TagsPlane:
    """What an operator may do with tags; resources are the last part of an ARN, such as ``job/job-1``."""

    def __init__(self, state: JobsState) -> None:
        self._state = state

    def of(self, resource: str) -> Mapping[str, str]:
        """Give the tags, or raise ResourceNotFound."""
        with self._state.transaction():
            self._require(resource)
            return self._state.tables.tags.get(resource, {})

    def add(self, resource: str, tags: Mapping[str, str]) -> None:
        """Add or replace tags."""
        with self._state.transaction():
            self._require(resource)
            new = {**self._state.tables.tags.get(resource, {}), **tags}
            if len(new) > MAX_TAGS:
                raise JobsRejectedError(RejectionCode.LIMIT_EXCEEDED, f"at most {MAX_TAGS} tags")
            self._state.tables.put_tags(resource, new)

    def remove(self, resource: str, keys: Iterable[str]) -> None:
        """Remove tags; those that are not there are no error."""
        with self._state.transaction():
            self._require(resource)
            old = self._state.tables.tags.get(resource, {})
            gone = set(keys)
            self._state.tables.put_tags(resource, {key: old[key] for key in old if key not in gone})

    def _require(self, resource: str) -> None:
        tables = self._state.tables
        kind, _, name = resource.partition("/")
        if kind not in {"job", GROUP_PREFIX.rstrip("/")}:
            raise invalid(f"the local cloud keeps tags of jobs and thing groups only, not of {resource}")
        if name not in (tables.jobs if kind == "job" else tables.groups):
            raise JobsRejectedError(RejectionCode.RESOURCE_NOT_FOUND, f"there is no {resource}")
