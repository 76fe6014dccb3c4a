"""JSON Patch (RFC 6902) and JSON Merge Patch (RFC 7386), the two that know nothing of Kubernetes."""

from typing import Any

from proxy.sandbox.failures import ApiError
from proxy.sandbox.objects import Object, copy


def merge(target: object, patch: object) -> object:
    """`target` with a merge patch applied; neither argument is changed."""
    if not isinstance(patch, dict):
        return copy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


def json_patch(target: Object, operations: object) -> Object:
    """`target` with a JSON patch applied; neither argument is changed.

    Raises ApiError 400 when the patch is malformed and 422 when it does not fit the object.
    """
    if not isinstance(operations, list):
        raise ApiError(400, "BadRequest", "a JSON patch is a list of operations")
    document: Any = copy(target)
    for operation in operations:
        try:
            document = _apply(document, operation)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            message = f"the server rejected our request due to an error in our request: {operation}"
            raise ApiError(422, "Invalid", message) from error
    if not isinstance(document, dict):
        raise ApiError(422, "Invalid", "the patch leaves no object")
    return document


def _apply(document: Any, operation: Object) -> Any:  # noqa: ANN401 - a JSON document is anything
    path = _pointer(operation["path"])
    match operation["op"]:
        case "add":
            return _add(document, path, copy(operation["value"]))
        case "remove":
            return _remove(document, path)
        case "replace":
            _lookup(document, path)
            return _set(document, path, copy(operation["value"]))
        case "test":
            if _lookup(document, path) != operation.get("value"):
                msg = "test failed"
                raise ValueError(msg)
            return document
        case "move":
            source = _pointer(operation["from"])
            value = _lookup(document, source)
            return _add(_remove(document, source), path, value)
        case "copy":
            return _add(document, path, copy(_lookup(document, _pointer(operation["from"]))))
        case unknown:
            raise ValueError(unknown)


def _pointer(text: str) -> list[str]:
    if text and not text.startswith("/"):
        raise ValueError(text)
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _index(items: list[Any], part: str) -> int:
    # Python would take a negative index; RFC 6901 has none.
    position = int(part)
    if position < 0:
        raise IndexError(part)
    return position


def _lookup(document: Any, path: list[str]) -> Any:  # noqa: ANN401
    for part in path:
        document = document[_index(document, part) if isinstance(document, list) else part]
    return document


def _add(document: Any, path: list[str], value: object) -> Any:  # noqa: ANN401
    if not path:
        return value
    parent = _lookup(document, path[:-1])
    if not isinstance(parent, list):
        parent[path[-1]] = value
    elif path[-1] == "-":
        parent.append(value)
    else:
        position = _index(parent, path[-1])
        if position > len(parent):
            raise IndexError(path[-1])
        parent.insert(position, value)
    return document


def _set(document: Any, path: list[str], value: object) -> Any:  # noqa: ANN401
    if not path:
        return value
    parent = _lookup(document, path[:-1])
    parent[_index(parent, path[-1]) if isinstance(parent, list) else path[-1]] = value
    return document


def _remove(document: Any, path: list[str]) -> Any:  # noqa: ANN401
    parent = _lookup(document, path[:-1])
    del parent[_index(parent, path[-1]) if isinstance(parent, list) else path[-1]]
    return document
