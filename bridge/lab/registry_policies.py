"""The policies of a registry and their versions.

Source: AWS IoT API Reference, CreatePolicy, CreatePolicyVersion, SetDefaultPolicyVersion, DeletePolicyVersion, DeletePolicy.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Final

from bridge.errors import UsageError
from bridge.lab.iot_policy import PolicyDocument
from bridge.lab.registry_model import MAX_POLICY_VERSIONS, Policy, PolicyVersion, RegistryRefusedError

_NAME: Final = re.compile(r"[\w+=,.@-]{1,128}", re.ASCII)


class PolicyBook:
    """All policies of a registry; thread-safe as the registry is.

    Args:
        change: Context in which something may change; gives epoch seconds.
        targets_of: ARNs of what a policy is attached to.
    """

    def __init__(
        self, change: Callable[[], AbstractContextManager[float]], targets_of: Callable[[str], Sequence[str]]
    ) -> None:
        self._change = change
        self._targets_of = targets_of
        self._policies: dict[str, Policy] = {}

    def fill(self, policies: Iterable[Policy]) -> None:
        """Take over what a file held."""
        self._policies = {each.name: each for each in policies}

    @property
    def every(self) -> list[Policy]:
        """All policies."""
        return [*self._policies.values()]

    def get(self, name: str) -> Policy:
        """Find a policy.

        Raises:
            RegistryRefusedError: It is not there.
        """
        found = self._policies.get(name)
        if found is None:
            raise RegistryRefusedError("ResourceNotFoundException", f"Policy not found (name={name})")
        return found

    def create(self, name: str, text: str) -> Policy:
        """Make a policy.

        Raises:
            RegistryRefusedError: Its name is none or taken, its document is none.
        """
        if not _NAME.fullmatch(name):
            raise RegistryRefusedError("InvalidRequestException", f"{name!r} is no policy name")
        document = _parse(text)
        with self._change() as now:
            if name in self._policies:
                raise RegistryRefusedError(
                    "ResourceAlreadyExistsException",
                    f"Policy cannot be created - name already exists (name={name})",
                )
            version = PolicyVersion("1", text, now, document)
            self._policies[name] = policy = Policy(name, [version], "1", 1)
            return policy

    def create_version(self, name: str, text: str, *, make_default: bool) -> PolicyVersion:
        """Add a version to a policy.

        Raises:
            RegistryRefusedError: The policy is not there or has five versions, or the document is none.
        """
        document = _parse(text)
        with self._change() as now:
            policy = self.get(name)
            if len(policy.versions) >= MAX_POLICY_VERSIONS:
                raise RegistryRefusedError(
                    "VersionsLimitExceededException",
                    f"The policy {name} already has the maximum number of versions ({MAX_POLICY_VERSIONS})",
                )
            policy.last_number += 1
            version = PolicyVersion(str(policy.last_number), text, now, document)
            policy.versions.append(version)
            if make_default:
                policy.default_id = version.version_id
            return version

    def set_default_version(self, name: str, version_id: str) -> None:
        """Put a version in force.

        Raises:
            RegistryRefusedError: It is not there.
        """
        with self._change():
            policy = self.get(name)
            policy.default_id = policy.version(version_id).version_id

    def delete_version(self, name: str, version_id: str) -> None:
        """Remove a version that is not in force.

        Raises:
            RegistryRefusedError: It is not there, or it is in force.
        """
        with self._change():
            policy = self.get(name)
            if version_id == policy.default_id:
                raise RegistryRefusedError("DeleteConflictException", "Cannot delete the default version.")
            policy.versions.remove(policy.version(version_id))

    def delete(self, name: str) -> None:
        """Remove a policy.

        Raises:
            RegistryRefusedError: It is attached, or has more than one version.
        """
        with self._change():
            policy = self.get(name)
            if self._targets_of(name) or len(policy.versions) > 1:
                raise RegistryRefusedError(
                    "DeleteConflictException",
                    f"Cannot delete the policy because it is attached or has several versions (name={name})",
                )
            del self._policies[name]


def _parse(text: str) -> PolicyDocument:
    try:
        return PolicyDocument.parse(text)
    except UsageError as error:
        raise RegistryRefusedError("MalformedPolicyException", error.message) from None
