"""Tags over AWS IoT's control plane. Source: botocore's ``iot`` model (members, errors)."""

from collections.abc import Mapping
from typing import Any

from bridge.lab.jobs_store import JobsStore
from bridge.lab.rest_values import read_tags, resource_of_arn


class TagsRest:
    """Handlers over a store."""

    def __init__(self, store: JobsStore) -> None:
        self._tags = store.tags
        self.handlers = {
            "ListTagsForResource": self.list,
            "TagResource": self.tag,
            "UntagResource": self.untag,
        }

    def list(self, members: Mapping[str, Any]) -> Mapping[str, object]:
        """ListTagsForResource, on one page: a resource has at most 50 tags."""
        tags = self._tags.of(resource_of_arn(members["resourceArn"]))
        return {"tags": [{"Key": key, "Value": value} for key, value in sorted(tags.items())]}

    def tag(self, members: Mapping[str, Any]) -> Mapping[str, object]:
        """TagResource."""
        self._tags.add(resource_of_arn(members["resourceArn"]), read_tags(members["tags"]))
        return {}

    def untag(self, members: Mapping[str, Any]) -> Mapping[str, object]:
        """UntagResource."""
        self._tags.remove(resource_of_arn(members["resourceArn"]), members["tagKeys"])
        return {}
