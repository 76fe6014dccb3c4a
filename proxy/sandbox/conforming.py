"""Does an object have the shape of its kind? Wrong types are refused, unknown fields reported and dropped.

What is stored has passed through here, so controllers may rely on its shape.
"""

from typing import Final

from proxy.sandbox.failures import bad_request
from proxy.sandbox.kinds import Kind
from proxy.sandbox.objects import Object
from proxy.sandbox.schema import Field, Message, messages

_PYTHON: Final[dict[str, tuple[type, ...]]] = {
    "string": (str,),
    "bytes": (str,),
    "bool": (bool,),
    "int32": (int,),
    "int64": (int,),
    "uint32": (int,),
    "uint64": (int,),
    "time": (str,),
    "microtime": (str,),
    "duration": (str,),
    "quantity": (str, int, float),
    "intorstring": (str, int),
    "[]string!": (list,),
}

_WORDS: Final = {
    "bool": "a bool",
    "int32": "a whole number",
    "int64": "a whole number",
    "uint32": "a whole number",
    "uint64": "a whole number",
    "quantity": "a quantity",
    "intorstring": "a whole number or a string",
    "[]string!": "a list",
}


def conform(kind: Kind, item: Object) -> tuple[Object, list[str]]:
    """`item` with only the fields its kind has, and the paths of the others.

    Raises ApiError 400 naming the field when a value has the wrong type.
    """
    unknown: list[str] = []
    body = {key: value for key, value in item.items() if key not in ("apiVersion", "kind")}
    shaped = _message(messages()[kind.name], body, "", unknown)
    return {"apiVersion": kind.api_version, "kind": kind.name, **shaped}, unknown


def _message(message: Message, value: object, path: str, unknown: list[str]) -> Object:
    if not isinstance(value, dict):
        raise _wrong(path, "an object", value)
    known = _fields(message)
    result: Object = {}
    for key, inner in value.items():
        here = f"{path}.{key}" if path else str(key)
        field = known.get(key)
        if field is None:
            unknown.append(here)
        elif inner is not None:
            result[key] = _field(field, inner, here, unknown)
    return result


def _fields(message: Message) -> dict[str, Field]:
    found: dict[str, Field] = {}
    for field in message.fields.values():
        if field.is_inline:
            found |= _fields(messages()[field.type])
        else:
            found[field.name] = field
    return found


def _field(field: Field, value: object, path: str, unknown: list[str]) -> object:
    if field.is_list:
        if not isinstance(value, list):
            raise _wrong(path, "a list", value)
        entries = enumerate(value)
        return [_element(field, inner, f"{path}[{at}]", unknown) for at, inner in entries]
    if field.is_map:
        if not isinstance(value, dict):
            raise _wrong(path, "a map", value)
        return {
            str(key): _element(field, inner, f"{path}.{key}", unknown)
            for key, inner in value.items()
        }
    return _element(field, value, path, unknown)


def _element(field: Field, value: object, path: str, unknown: list[str]) -> object:
    if field.is_message:
        return _message(messages()[field.type], value, path, unknown)
    if field.name == "fieldsV1" or (value is None and (field.is_map or field.is_list)):
        return value
    wanted = _PYTHON[field.type]
    if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
        raise _wrong(path, _WORDS.get(field.type, "a string"), value)
    return value


def _wrong(path: str, wanted: str, value: object) -> Exception:
    # The value stays out of the message: it may be a secret in the wrong place.
    found = {"dict": "an object", "list": "a list", "str": "a string", "bool": "a bool"}
    name = type(value).__name__
    return bad_request(
        f"{path or 'the body'}: expected {wanted}, found {found.get(name, 'a number')}"
    )
