"""Documents of `apply`: what people write down of users, groups, projects, roles and grants."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, UnsetType

from proxy.control.entry.fields import Name, Names, Reason, Text
from proxy.control.people.projects import Places
from proxy.control.people.roles import RoleFields
from proxy.errors import InvalidInputError
from proxy.state.access import Scope, ScopeKind, SubjectKind, UserKind

Version = Literal["kubewitness.io/v1"]


class Metadata(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a document is called. Labels and annotations are for other programs and kept nowhere."""

    name: Name
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class GrantMetadata(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Grants have no names: they are told apart by whom, what and where."""

    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class UserSpec(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A user; what is left out stays as it is."""

    kind: UserKind | UnsetType = UNSET
    display_name: Text | UnsetType = UNSET
    groups: Names | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET
    """Only when it is said: who was disabled is not enabled by being in a file."""


class GroupSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A group; what is left out stays as it is."""

    description: Text | UnsetType = UNSET


class ProjectSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A project; what is left out stays as it is."""

    places: Places | UnsetType = UNSET
    description: Text | UnsetType = UNSET


class GrantSpec(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A role for a user or a group, in a project, a cluster, a namespace of a cluster, or the whole
    organization. Where it holds is always said: a name that was forgotten must not widen it."""

    role: Name
    user: Text = ""
    group: Text = ""
    project: Text = ""
    cluster: Text = ""
    namespace: Text = ""
    organization: bool = False
    expires_at: Text = ""
    """RFC 3339; empty is for good."""
    reason: Reason = ""

    def subject(self) -> tuple[SubjectKind, str]:
        """To whom. Raises InvalidInputError unless exactly one is named."""
        if bool(self.user) == bool(self.group):
            raise InvalidInputError("A grant is to a user or to a group: name one of them.")
        if self.user:
            return SubjectKind.USER, self.user
        return SubjectKind.GROUP, self.group

    def scope(self) -> Scope:
        """Where. Raises InvalidInputError for what is no scope."""
        if self.project:
            kind = ScopeKind.PROJECT
        elif self.namespace:
            kind = ScopeKind.NAMESPACE
        else:
            kind = ScopeKind.CLUSTER if self.cluster else ScopeKind.ORGANIZATION
        if bool(self.project) + bool(self.cluster or self.namespace) + self.organization != 1:
            raise InvalidInputError(
                "A grant is in a project, in a cluster, or in the whole organization: say which one.",
                hint="project: P, cluster: C (with namespace: N or without), or organization: true.",
            )
        return Scope(kind, self.project, self.cluster, self.namespace)


class UserDocument(msgspec.Struct, frozen=True, rename="camel", tag="User", tag_field="kind", forbid_unknown_fields=True):  # fmt: skip
    """A user as written down."""

    api_version: Version
    metadata: Metadata
    spec: UserSpec = UserSpec()


class GroupDocument(msgspec.Struct, frozen=True, rename="camel", tag="Group", tag_field="kind", forbid_unknown_fields=True):  # fmt: skip
    """A group as written down."""

    api_version: Version
    metadata: Metadata
    spec: GroupSpec = GroupSpec()


class ProjectDocument(msgspec.Struct, frozen=True, rename="camel", tag="Project", tag_field="kind", forbid_unknown_fields=True):  # fmt: skip
    """A project as written down."""

    api_version: Version
    metadata: Metadata
    spec: ProjectSpec = ProjectSpec()


class RoleDocument(msgspec.Struct, frozen=True, rename="camel", tag="Role", tag_field="kind", forbid_unknown_fields=True):  # fmt: skip
    """A custom role as written down, whole."""

    api_version: Version
    metadata: Metadata
    spec: RoleFields


class GrantDocument(msgspec.Struct, frozen=True, rename="camel", tag="Grant", tag_field="kind", forbid_unknown_fields=True):  # fmt: skip
    """A grant as written down."""

    api_version: Version
    spec: GrantSpec
    metadata: GrantMetadata = GrantMetadata()


Document = UserDocument | GroupDocument | ProjectDocument | RoleDocument | GrantDocument
Documents = Annotated[tuple[Document, ...], msgspec.Meta(max_length=10_000)]
