"""What create, update and delete mean: names, versions, generations, owners, grace and dry runs.

Routes and controllers both change objects through here; below it, the store only remembers.
"""

import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from proxy.clock import Clock
from proxy.sandbox import defaults, ownership
from proxy.sandbox.failures import already_exists, bad_request, conflict, forbidden, not_found
from proxy.sandbox.kinds import EVENT, NAMESPACE, POD, SERVICE, STORED, Kind
from proxy.sandbox.objects import (
    Object,
    copy,
    is_deleting,
    is_owned_by,
    name_of,
    owners_of,
    timestamp,
    uid_of,
)
from proxy.sandbox.store import Store

#: The alphabet of generated names: no vowels, so that no words come out.
_SUFFIX: Final = "bcdfghjklmnpqrstvwxz2456789"
_KEPT: Final = (
    "uid", "creationTimestamp", "generation", "resourceVersion", "deletionTimestamp",
    "deletionGracePeriodSeconds", "selfLink",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Write:
    """How a change is made: by whom, on which subresource, and whether for real.

    `applied` holds the fields of a server-side apply; None means an ordinary update.
    """

    manager: str = ""
    subresource: str = ""
    dry_run: bool = False
    applied: Object | None = None


@dataclass(frozen=True, slots=True)
class Deletion:
    """The options of a delete. `grace` None means the object's own."""

    grace: int | None = None
    propagation: str = "Background"
    dry_run: bool = False
    uid: str = ""
    resource_version: str = ""


BY_CONTROLLER: Final = Write()


def random_suffix(length: int = 5) -> str:
    """Random lower-case characters, as generated names end in."""
    return "".join(secrets.choice(_SUFFIX) for _ in range(length))


class Registry:
    """The rules of changing objects, over one store and one clock."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store = store
        self.clock = clock

    def now(self) -> str:
        """The present as objects write it."""
        return timestamp(self.clock.now())

    def require(self, kind: Kind, namespace: str, name: str) -> Object:
        """The object. Raises ApiError 404 when there is none."""
        found = self.store.get(kind, namespace, name)
        if found is None:
            raise not_found(kind, name)
        return found

    def create(
        self, kind: Kind, namespace: str, body: Object, how: Write = BY_CONTROLLER
    ) -> Object:
        """Make a new object of `body`, which is changed in place and kept; gives the stored one.

        Raises ApiError when its name is taken or missing, its namespace is not there or on its way out, or the object is invalid.
        """
        meta = body.setdefault("metadata", {})
        self._place(kind, namespace, meta)
        if self.store.get(kind, namespace, meta["name"]) is not None:
            raise already_exists(kind, meta["name"])
        body["apiVersion"], body["kind"] = kind.api_version, kind.name
        for field in _KEPT:
            meta.pop(field, None)
        meta["uid"] = str(uuid.uuid4())
        meta["creationTimestamp"] = self.now()
        if "spec" in body and kind not in (NAMESPACE, SERVICE):
            meta["generation"] = 1
        if how.manager:
            body.pop("status", None)
        defaults.fill_in(kind, body)
        self._initial_status(kind, body)
        defaults.check(kind, body)
        self._manage(None, body, how)
        return body if how.dry_run else self.store.put(kind, body)

    def _place(self, kind: Kind, namespace: str, meta: Object) -> None:
        if not meta.get("name") and meta.get("generateName"):
            meta["name"] = meta["generateName"] + random_suffix()
        if not meta.get("name"):
            raise bad_request("name or generateName is required")
        if not kind.namespaced:
            meta.pop("namespace", None)
            return
        if meta.setdefault("namespace", namespace) != namespace:
            message = (
                f"the namespace of the provided object does not match the namespace sent on the "
                f"request: {meta['namespace']} is not {namespace}"
            )
            raise bad_request(message)
        home = self.require(NAMESPACE, "", namespace)
        if is_deleting(home) and kind is not EVENT:
            message = (
                f'{kind.qualified} "{meta["name"]}" is forbidden: unable to create new content in '
                f"namespace {namespace} because it is being terminated"
            )
            raise forbidden(message)

    def _initial_status(self, kind: Kind, body: Object) -> None:
        if kind is NAMESPACE:
            body["status"] = {"phase": "Active"}
        elif kind is POD:
            body.setdefault("status", {"phase": "Pending", "qosClass": "BestEffort"})
        elif kind is SERVICE:
            self._address(body)
            body.setdefault("status", {"loadBalancer": {}})

    def _address(self, service: Object) -> None:
        spec = service["spec"]
        if spec["type"] == "ExternalName":
            return
        number = self.store.revision % 60_000 + 10
        spec.setdefault("clusterIP", f"10.96.{number // 250}.{number % 250 + 1}")
        spec.setdefault("clusterIPs", [spec["clusterIP"]])
        if spec["type"] in ("NodePort", "LoadBalancer"):
            for offset, port in enumerate(spec.get("ports") or []):
                port.setdefault("nodePort", 30_000 + (number + offset) % 2_768)

    def update(self, kind: Kind, body: Object, how: Write = BY_CONTROLLER) -> Object:
        """Replace an object by `body`, which is changed in place and kept; gives the stored one.

        A `status` write changes the status only, any other leaves it alone. Raises ApiError 404, 409 when the resource version in `body` is not the present one, 422.
        """
        meta = body["metadata"]
        before = self.require(kind, meta.get("namespace", ""), meta["name"])
        if meta.get("resourceVersion") not in (None, "", before["metadata"]["resourceVersion"]):
            why = (
                "the object has been modified; please apply your changes to the latest version "
                "and try again"
            )
            raise conflict(kind, meta["name"], why)
        after = self._merged(kind, before, body, how)
        if how.subresource != "status":
            defaults.fill_in(kind, after)
            defaults.check(kind, after)
            defaults.check_change(kind, before, after)
            self._count_generation(before, after)
        if how.applied is None and _same(before, after):
            return before
        self._manage(before, after, how)
        if how.dry_run:
            return after
        if is_deleting(after) and not after["metadata"].get("finalizers") and kind is not POD:
            return (
                self.store.remove(kind, after)
                if kind is not NAMESPACE
                else self.store.put(kind, after)
            )
        return self.store.put(kind, after)

    def _merged(self, kind: Kind, before: Object, body: Object, how: Write) -> Object:
        if how.subresource == "status":
            return {**copy(before), "status": body.get("status", {})}
        after = {**body, "apiVersion": kind.api_version, "kind": kind.name}
        for field in _KEPT:
            after["metadata"].pop(field, None)
            if field in before["metadata"]:
                after["metadata"][field] = before["metadata"][field]
        if "managedFields" not in after["metadata"] and "managedFields" in before["metadata"]:
            after["metadata"]["managedFields"] = before["metadata"]["managedFields"]
        if "status" in kind.subresources and how.manager:
            after.pop("status", None)
            if "status" in before:
                after["status"] = copy(before["status"])
        if kind is SERVICE:
            for field in ("clusterIP", "clusterIPs"):
                if field in before["spec"] and not after["spec"].get(field):
                    after["spec"][field] = before["spec"][field]
        return after

    def _count_generation(self, before: Object, after: Object) -> None:
        if "generation" in before["metadata"] and before.get("spec") != after.get("spec"):
            after["metadata"]["generation"] = before["metadata"]["generation"] + 1

    def _manage(self, before: Object | None, after: Object, how: Write) -> None:
        if not how.manager:
            return
        fields = how.applied
        if fields is None:
            fields = ownership.changed(before or {}, after)
            on_status = how.subresource == "status"
            fields = {key: sub for key, sub in fields.items() if (key == "f:status") == on_status}
        entry: Object = {
            "manager": how.manager,
            "operation": "Update" if how.applied is None else "Apply",
            "apiVersion": after["apiVersion"],
            "time": self.now(),
            "fieldsType": "FieldsV1",
            "fieldsV1": fields,
        }
        if how.subresource in ("status", "scale"):
            entry["subresource"] = how.subresource
        ownership.record(after["metadata"], entry)

    def mutate(
        self, kind: Kind, item: Object, change: Callable[[Object], None], *, status: bool = False
    ) -> Object:
        """Change an object the way controllers do: on a copy, whatever its version now."""
        fresh = copy(self.require(kind, item["metadata"].get("namespace", ""), name_of(item)))
        change(fresh)
        return self.update(kind, fresh, Write(subresource="status") if status else BY_CONTROLLER)

    def delete(self, kind: Kind, item: Object, options: Deletion | None = None) -> Object | None:
        """Delete an object, or start to; gives what is left of it, None when nothing is.

        Pods wait for their node, namespaces for their contents, and anything for its finalizers.
        Raises ApiError 409 when a precondition does not hold.
        """
        options = options or Deletion()
        self._check_preconditions(kind, item, options)
        finalizers = set(item["metadata"].get("finalizers") or [])
        if options.propagation == "Foreground":
            finalizers.add("foregroundDeletion")
        if options.dry_run:
            return None
        if options.propagation == "Orphan":
            self._orphan(item)
        grace = self._grace(kind, item, options)
        if not finalizers and not grace and kind is not NAMESPACE:
            self.store.remove(kind, item)
            return None
        if is_deleting(item) and grace:
            return item
        marked = copy(item)
        marked["metadata"]["deletionTimestamp"] = timestamp(self.clock.now() + grace)
        marked["metadata"]["deletionGracePeriodSeconds"] = grace
        if finalizers:
            marked["metadata"]["finalizers"] = sorted(finalizers)
        if kind is NAMESPACE:
            marked["status"] = {**marked.get("status", {}), "phase": "Terminating"}
        return self.store.put(kind, marked)

    def _check_preconditions(self, kind: Kind, item: Object, options: Deletion) -> None:
        for field, wanted in (("uid", options.uid), ("resourceVersion", options.resource_version)):
            have = item["metadata"][field]
            if wanted and wanted != have:
                why = (
                    f"the {field} in the precondition ({wanted}) is not that of the object ({have})"
                )
                raise conflict(kind, name_of(item), why)

    def _grace(self, kind: Kind, item: Object, options: Deletion) -> int:
        if kind is not POD or not item["spec"].get("nodeName"):
            return 0
        if item.get("status", {}).get("phase") in ("Succeeded", "Failed"):
            return 0
        own = int(item["spec"].get("terminationGracePeriodSeconds", 30))
        return own if options.grace is None else options.grace

    def _orphan(self, owner: Object) -> None:
        for kind in STORED:
            for item in self.store.items(kind, owner["metadata"].get("namespace", "")):
                if is_owned_by(item, owner):
                    freed = copy(item)
                    kept = [ref for ref in owners_of(item) if ref["uid"] != uid_of(owner)]
                    freed["metadata"]["ownerReferences"] = kept
                    self.update(kind, freed)


def _same(before: Object, after: Object) -> bool:
    def stripped(item: Object) -> Object:
        meta = {
            k: v
            for k, v in item["metadata"].items()
            if k not in ("managedFields", "resourceVersion")
        }
        return {**item, "metadata": meta}

    entries = [item["metadata"].get("managedFields") for item in (before, after)]
    return stripped(before) == stripped(after) and entries[0] == entries[1]
