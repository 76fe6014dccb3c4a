"""Field ownership and server-side apply.

Each manager's entry in `managedFields` lists the fields it set, in the `FieldsV1` form: `f:name` for a
field, `k:{…}` for an element of a keyed list, `v:…` for an element of a set. Applying merges the
given configuration, removes what the same manager applied before and left out now, and refuses to
change what somebody else owns unless forced.

Limit: lists without merge keys are owned and replaced as one value, and ownership of an entry by
an update is what that update changed.
"""

import json
from typing import Any, Final

from proxy.sandbox.failures import ApiError
from proxy.sandbox.objects import Object, canonical, copy
from proxy.sandbox.strategic import SETS, identity, keys_for

Fields = dict[str, Any]

#: Client-side apply yields to server-side apply: a real server sees in the annotation that both
#: are the same person's, and lets the second take over.
_CLIENT_SIDE: Final = "kubectl-client-side-apply"
#: Never owned by anyone: the server keeps these.
_UNOWNED: Final = frozenset(
    {"apiVersion", "kind", "name", "namespace", "uid", "resourceVersion", "generation",
     "creationTimestamp", "managedFields", "selfLink", "deletionTimestamp"}
)  # fmt: skip


def fields_of(item: Object) -> Fields:
    """The fields of `item` that a manager can own."""
    body = {key: value for key, value in item.items() if key not in _UNOWNED}
    if isinstance(body.get("metadata"), dict):
        kept = {key: value for key, value in body["metadata"].items() if key not in _UNOWNED}
        body["metadata"] = kept
    return {key: value for key, value in _tree(body).items() if value or key != "f:metadata"}


def _tree(value: Object) -> Fields:
    return {f"f:{key}": _branch(key, inner) for key, inner in value.items()}


def _branch(key: str, value: object) -> Fields:
    if isinstance(value, dict):
        return _tree(value)
    if isinstance(value, list) and value:
        if key in SETS:
            return {f"v:{canonical(item)}": {} for item in value}
        if keys := keys_for(key, value):
            return {_element(item, keys): {".": {}, **_tree(item)} for item in value}
    return {}


def _element(item: Object, keys: tuple[str, ...]) -> str:
    values = zip(keys, identity(item, keys), strict=True)
    return "k:" + canonical({key: value for key, value in values if value is not None})


def changed(before: Object, after: Object) -> Fields:
    """The fields that `after` holds with another value than `before`."""
    return _changed(fields_of(after), before, after)


def _changed(tree: Fields, before: object, after: object) -> Fields:
    found: Fields = {}
    for key, inner in tree.items():
        if key == ".":
            continue
        old, new = _child(before, key), _child(after, key)
        if old == new:
            continue
        found[key] = _changed(inner, old, new) if inner else {}
    return found


def _child(value: object, key: str) -> object:
    mark, _, rest = key.partition(":")
    if mark == "f":
        return value.get(rest) if isinstance(value, dict) else None
    if not isinstance(value, list):
        return None
    wanted = json.loads(rest)
    if mark == "v":
        return wanted if wanted in value else None
    for item in value:
        if all(
            item.get(name, "TCP" if name == "protocol" else None) == part
            for name, part in wanted.items()
        ):
            return dict(item)
    return None


def record(meta: Object, entry: Object) -> None:
    """Put `entry` into the `managedFields` of `meta`.

    An update adds to what the same manager updated before; an apply replaces what it applied.
    """
    entries = meta.get("managedFields") or []
    mine = [have for have in entries if _mark(have) == _mark(entry)]
    if mine and entry["operation"] == "Update":
        entry = {**entry, "fieldsV1": _union(mine[0].get("fieldsV1") or {}, entry["fieldsV1"])}
    if not entry["fieldsV1"] or (mine and mine[0].get("fieldsV1") == entry["fieldsV1"]):
        return
    meta["managedFields"] = [*(have for have in entries if have not in mine), entry]


def _mark(entry: Object) -> tuple[str, str, str]:
    return (entry["manager"], entry["operation"], entry.get("subresource", ""))


def _union(one: Fields, other: Fields) -> Fields:
    result = dict(one)
    for key, value in other.items():
        result[key] = _union(result.get(key, {}), value)
    return result


def apply(current: Object, config: Object, manager: str, *, force: bool) -> Object:
    """`current` with `config` applied by `manager`; neither argument is changed.

    Raises ApiError 409 naming the managers and fields in the way when `force` is false.
    """
    wanted = fields_of(config)
    entries = current.get("metadata", {}).get("managedFields") or []
    others = [e for e in entries if (e["manager"], e["operation"]) != (manager, "Apply")]
    mine = [e for e in entries if (e["manager"], e["operation"]) == (manager, "Apply")]
    if not force:
        _refuse_conflicts(current, config, wanted, others)
    result = copy(current)
    for entry in mine:
        _prune(
            result, entry.get("fieldsV1") or {}, wanted, [e.get("fieldsV1") or {} for e in others]
        )
    result = _overlay(result, {k: v for k, v in config.items() if k not in {"apiVersion", "kind"}})
    disowned = [
        {**e, "fieldsV1": _without(e.get("fieldsV1") or {}, wanted, current, config)}
        for e in others
    ]
    result.setdefault("metadata", {})["managedFields"] = [e for e in disowned if e["fieldsV1"]]
    return result


def _overlay(target: Object, config: Object) -> Object:
    result = dict(target)
    for key, value in config.items():
        have = result.get(key)
        if value is None:
            continue
        if isinstance(value, dict):
            result[key] = _overlay(have if isinstance(have, dict) else {}, value)
        elif (
            isinstance(value, list)
            and isinstance(have, list)
            and (key in SETS or keys_for(key, value))
        ):
            result[key] = _overlay_list(key, have, value)
        else:
            result[key] = copy(value)
    return result


def _overlay_list(key: str, have: list[Any], value: list[Any]) -> list[Any]:
    if key in SETS:
        return [*have, *(item for item in value if item not in have)]
    keys = keys_for(key, value)
    result = {identity(item, keys): item for item in have}
    for item in value:
        place = identity(item, keys)
        result[place] = _overlay(result.get(place, {}), item)
    return list(result.values())


def _refuse_conflicts(
    current: Object, config: Object, wanted: Fields, others: list[Object]
) -> None:
    causes = []
    for entry in others:
        if entry.get("subresource") or entry["manager"] == _CLIENT_SIDE:
            continue
        for path in _clashes(wanted, entry.get("fieldsV1") or {}, current, config, ""):
            message = f'conflict with "{entry["manager"]}" using {entry["apiVersion"]}'
            causes.append({"reason": "FieldManagerConflict", "message": message, "field": path})
    if causes:
        first = f"{causes[0]['message']}: {causes[0]['field']}"
        listed = "".join(f"\n- {cause['field']}: {cause['message']}" for cause in causes)
        told = f"1 conflict: {first}" if len(causes) == 1 else f"{len(causes)} conflicts:{listed}"
        text = f"Apply failed with {told}"
        raise ApiError(409, "Conflict", text, {"causes": causes})


def _clashes(
    wanted: Fields, owned: Fields, current: object, config: object, path: str
) -> list[str]:
    found = []
    for key in wanted.keys() & owned.keys() - {"."}:
        have, want = _child(current, key), _child(config, key)
        here = f"{path}.{key[2:]}" if key.startswith("f:") else f"{path}[{key[2:]}]"
        if wanted[key] and owned[key]:
            found += _clashes(wanted[key], owned[key], have, want, here)
        elif have != want and not wanted[key]:
            found.append(here)
    return sorted(found)


def _without(owned: Fields, wanted: Fields, current: object, config: object) -> Fields:
    # What an apply changes it takes over; what it merely confirms stays shared.
    left: Fields = {}
    for key, inner in owned.items():
        if key not in wanted or key == ".":
            left[key] = inner
            continue
        have, want = _child(current, key), _child(config, key)
        if inner and wanted[key]:
            kept = _without(inner, wanted[key], have, want)
            if kept:
                left[key] = kept
        elif have == want:
            left[key] = inner
    return left


def _prune(target: Object, before: Fields, now: Fields, others: list[Fields]) -> None:
    """Remove from `target` the fields in `before` that neither `now` nor `others` hold."""
    for key, inner in before.items():
        if key == ".":
            continue
        elsewhere = [tree[key] for tree in others if key in tree]
        child = _child(target, key)
        if child is None:
            continue
        if key not in now and not elsewhere:
            _drop(target, key)
        elif inner and isinstance(child, dict | list):
            _prune_child(target, key, inner, now.get(key, {}), elsewhere)


def _prune_child(
    target: Object, key: str, before: Fields, now: Fields, others: list[Fields]
) -> None:
    name = key[2:]
    value = target.get(name)
    if isinstance(value, dict):
        _prune(value, before, now, others)
        return
    if not isinstance(value, list):
        return
    for element, inner in before.items():
        elsewhere = [tree[element] for tree in others if element in tree]
        if element not in now and not elsewhere:
            gone = _child(value, element)
            target[name] = value = [item for item in value if item != gone]
            continue
        for item in value:
            if element.startswith("k:") and _child([item], element) is not None:
                _prune(item, inner, now.get(element, {}), elsewhere)


def _drop(target: Object, key: str) -> None:
    target.pop(key[2:], None)
