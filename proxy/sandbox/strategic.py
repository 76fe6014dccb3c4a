"""Strategic merge patch: a merge patch that knows which lists are really maps.

`kubectl apply`, `set image`, `label`, `edit` and `rollout restart` send it. The keys are those of the
built-in types, found by field name; lists that are not in the table are replaced whole. Directives
understood: `$patch` (replace, delete, merge), `$deleteFromPrimitiveList/…`, `$setElementOrder/…`
(used to order what is there) and `$retainKeys`.
"""

from typing import Any, Final

from proxy.sandbox.objects import Object, copy

#: Field name → the keys that tell its elements apart (`patchMergeKey` and `listMapKeys`).
MERGE_KEYS: Final[dict[str, tuple[str, ...]]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "ephemeralContainers": ("name",),
    "env": ("name",),
    "volumes": ("name",),
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
    "imagePullSecrets": ("name",),
    "secrets": ("name",),
    "conditions": ("type",),
    "addresses": ("type",),
    "hostAliases": ("ip",),
    "podIPs": ("ip",),
    "hostIPs": ("ip",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "ownerReferences": ("uid",),
}
#: Lists of plain values that are sets.
SETS: Final = frozenset({"finalizers"})


def keys_for(field: str, items: list[Any]) -> tuple[str, ...]:
    """The merge keys of the list in `field`, empty when it is replaced whole.

    `ports` means one thing in a container and another in a service; the elements tell which.
    """
    if not all(isinstance(item, dict) for item in items):
        return ()
    if field == "ports":
        in_container = any("containerPort" in item for item in items)
        return ("containerPort", "protocol") if in_container else ("port", "protocol")
    return MERGE_KEYS.get(field, ())


def identity(item: Object, keys: tuple[str, ...]) -> tuple[object, ...]:
    """What tells `item` apart from its neighbours; a port without a protocol is TCP."""
    return tuple(item.get(key, "TCP" if key == "protocol" else None) for key in keys)


def merge(target: Object, patch: Object) -> Object:
    """`target` with a strategic merge patch applied; neither argument is changed."""
    if patch.get("$patch") == "replace":
        return {key: copy(value) for key, value in patch.items() if key != "$patch"}
    result = dict(target)
    retained = patch.get("$retainKeys")
    if isinstance(retained, list):
        result = {key: value for key, value in result.items() if key in retained}
    for key, value in patch.items():
        if not key.startswith("$"):
            _merge_field(result, key, value)
    _directives(result, patch)
    return result


def _merge_field(result: Object, key: str, value: object) -> None:
    have = result.get(key)
    if value is None:
        result.pop(key, None)
    elif isinstance(value, dict):
        if value.get("$patch") == "delete":
            result.pop(key, None)
        else:
            result[key] = merge(have if isinstance(have, dict) else {}, value)
    elif isinstance(value, list):
        result[key] = _merge_list(key, have if isinstance(have, list) else [], value)
    else:
        result[key] = value


def _merge_list(field: str, have: list[Any], patch: list[Any]) -> list[Any]:
    if field in SETS:
        return [*have, *(value for value in patch if value not in have)]
    keys = keys_for(field, [*have, *(item for item in patch if not _is_replace(item))])
    if not keys or any(_is_replace(item) for item in patch):
        return [copy(item) for item in patch if not _is_replace(item)]
    result = {identity(item, keys): item for item in have}
    for item in patch:
        place = identity(item, keys)
        if field == "ports":
            # kubectl may name a port by its number alone.
            place = _same_port(result, item, keys) or place
        if item.get("$patch") == "delete":
            result.pop(place, None)
        else:
            result[place] = merge(result.get(place, {}), item)
    return list(result.values())


def _same_port(
    have: dict[tuple[object, ...], Object], item: Object, keys: tuple[str, ...]
) -> tuple[object, ...] | None:
    if "protocol" in item:
        return None
    found = [place for place, port in have.items() if port.get(keys[0]) == item.get(keys[0])]
    return found[0] if len(found) == 1 else None


def _is_replace(item: object) -> bool:
    return isinstance(item, dict) and item.get("$patch") == "replace" and len(item) == 1


def _directives(result: Object, patch: Object) -> None:
    for key, value in patch.items():
        directive, _, field = key.partition("/")
        have = result.get(field)
        if not isinstance(have, list) or not isinstance(value, list):
            continue
        if directive == "$deleteFromPrimitiveList":
            result[field] = [item for item in have if item not in value]
        elif directive == "$setElementOrder":
            result[field] = _ordered(field, have, value)


def _ordered(field: str, have: list[Any], order: list[Any]) -> list[Any]:
    keys = keys_for(field, [item for item in have if isinstance(item, dict)])
    key = keys[0] if keys else ""

    def place(item: object) -> int:
        for position, wanted in enumerate(order):
            if item == wanted:
                return position
            if isinstance(item, dict) and isinstance(wanted, dict):
                same = item.get(key) == wanted.get(key)
                if same and key:
                    return position
        return len(order)

    return sorted(have, key=place)
