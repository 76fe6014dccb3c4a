"""OpenAPI documents, enough for `kubectl explain`, validation and apply.

Version 3 is made from the type table, one document a group version, on the first request. PATCH lists
no strategic merge: kubectl then computes such patches with its own built-in types, which know
more than the table. Version 2 exists only as an empty document, for clients that insist on it.
"""

import hashlib
import json
from functools import cache
from typing import Final

from proxy.sandbox.kinds import KINDS, Kind
from proxy.sandbox.objects import Object
from proxy.sandbox.schema import Field, Message, messages

#: `swagger: "2.0"` as the protobuf form of an OpenAPI v2 document.
EMPTY_V2_PROTOBUF: Final = b"\x0a\x032.0"
EMPTY_V2: Final = {"swagger": "2.0", "info": {"title": "Sandbox", "version": "1"}, "paths": {}}
V2_PROTOBUF_TYPE: Final = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"

_PLAIN: Final[dict[str, Object]] = {
    "string": {"type": "string"},
    "bool": {"type": "boolean"},
    "bytes": {"type": "string", "format": "byte"},
    "int32": {"type": "integer", "format": "int32"},
    "int64": {"type": "integer", "format": "int64"},
    "uint32": {"type": "integer", "format": "int64"},
    "uint64": {"type": "integer", "format": "int64"},
    "time": {"type": "string", "format": "date-time"},
    "microtime": {"type": "string", "format": "date-time"},
    "quantity": {"type": "string"},
    "duration": {"type": "string"},
    "intorstring": {"type": "string", "format": "int-or-string"},
    "[]string!": {"type": "array", "items": {"type": "string"}},
}
#: Words for the fields people ask about first; the rest explains itself by name and type.
_ABOUT: Final = {
    "metadata": "Name, namespace, labels and the rest that every object has.",
    "spec": "The state that is wanted.",
    "status": "The state that is; written by the cluster.",
    "replicas": "How many pods are wanted.",
    "selector": "Which pods belong to this object, by their labels.",
    "template": "The pod to make copies of.",
    "containers": "The programs of the pod; at least one.",
    "image": "Which container image to run.",
    "command": "What to run instead of the image's entry point.",
    "args": "Arguments for the entry point.",
    "env": "Environment variables of the container.",
    "ports": "Ports that are listened on.",
    "data": "Keys and values.",
    "labels": "Keys and values to select objects by.",
    "annotations": "Keys and values that tools attach; nothing selects by them.",
    "strategy": "How old pods are replaced by new ones.",
    "resources": "What the container asks for and what it may not exceed.",
    "volumes": "Storage that the pod's containers can mount.",
    "apiVersion": "The version of the schema of this object.",
    "kind": "Which kind of object this is.",
}


def index() -> Object:
    """The answer to `/openapi/v3`: where the documents are."""
    roots = dict.fromkeys(kind.root for kind in KINDS if _message(kind))
    paths = {
        root: {"serverRelativeURL": f"/openapi/v3/{root}?hash={_hash(root)}"} for root in roots
    }
    return {"paths": paths}


@cache
def _hash(root: str) -> str:
    data = json.dumps([repr(kind) for kind in KINDS if kind.root == root]).encode()
    return hashlib.sha256(data).hexdigest()[:16].upper()


@cache
def document(root: str) -> bytes | None:
    """The OpenAPI v3 document of a group version such as `apis/apps/v1`, None when there is none."""
    kinds = [kind for kind in KINDS if kind.root == root and _message(kind)]
    if not kinds:
        return None
    schemas: dict[str, Object] = {}
    paths: dict[str, Object] = {}
    for kind in kinds:
        message = messages()[kind.name]
        _add_schema(message, schemas)
        schemas[message.schema_name] |= _object_parts(kind)
        paths |= _paths(kind, message)
    body = {
        "openapi": "3.0.0",
        "info": {"title": "kubewitness sandbox", "version": "v1.37"},
        "paths": paths,
        "components": {"schemas": schemas},
    }
    return json.dumps(body, separators=(",", ":")).encode()


def _message(kind: Kind) -> Message | None:
    return messages().get(kind.name)


def _object_parts(kind: Kind) -> Object:
    message = messages()[kind.name]
    names: Object = {
        name: {"type": "string", "description": _ABOUT[name]} for name in ("apiVersion", "kind")
    }
    return {
        "description": kind.about,
        "properties": names | _properties(message),
        "x-kubernetes-group-version-kind": [_gvk(kind)],
    }


def _gvk(kind: Kind) -> Object:
    return {"group": kind.group, "version": kind.version, "kind": kind.name}


def _add_schema(message: Message, schemas: dict[str, Object]) -> None:
    if message.schema_name in schemas:
        return
    schemas[message.schema_name] = {"type": "object", "properties": _properties(message)}
    for field in message.fields.values():
        if field.is_message:
            _add_schema(messages()[field.type], schemas)


def _properties(message: Message) -> Object:
    found: Object = {}
    for field in message.fields.values():
        if field.is_inline:
            found |= _properties(messages()[field.type])
        else:
            found[field.name] = _property(field)
    return found


def _property(field: Field) -> Object:
    if field.is_message:
        schema: Object = {
            "allOf": [{"$ref": f"#/components/schemas/{messages()[field.type].schema_name}"}]
        }
    else:
        schema = dict(_PLAIN[field.type])
    if field.is_list:
        schema = {"type": "array", "items": schema}
    elif field.is_map:
        schema = {"type": "object", "additionalProperties": schema}
    return schema | ({"description": _ABOUT[field.name]} if field.name in _ABOUT else {})


def _paths(kind: Kind, message: Message) -> dict[str, Object]:
    home = f"/{kind.root}/namespaces/{{namespace}}" if kind.namespaced else f"/{kind.root}"
    collection = f"{home}/{kind.plural}"
    operations = {"get": "list", "post": "create", "delete": "deletecollection"}
    single = {"get": "get", "put": "update", "patch": "patch", "delete": "delete"}
    return {
        collection: _operations(kind, message, operations),
        f"{collection}/{{name}}": _operations(kind, message, single),
    }


def _operations(kind: Kind, message: Message, verbs: dict[str, str]) -> Object:
    reference = {"$ref": f"#/components/schemas/{message.schema_name}"}
    content = {"content": {"application/json": {"schema": reference}}}
    found: Object = {}
    for method, verb in verbs.items():
        if verb not in kind.verbs:
            continue
        names = ["dryRun", "fieldManager", "fieldValidation"] if method in _WRITES else []
        found[method] = {
            "operationId": f"{verb}{kind.name}",
            "parameters": [{"name": n, "in": "query", "schema": {"type": "string"}} for n in names],
            "responses": {"200": {"description": "OK", **content}},
            "x-kubernetes-action": verb,
            "x-kubernetes-group-version-kind": _gvk(kind),
        }
        if method in ("post", "put"):
            found[method]["requestBody"] = content
        if method == "patch":
            kinds = ("application/merge-patch+json", "application/apply-patch+yaml")
            found[method]["requestBody"] = {"content": {name: {} for name in kinds}}
    return found


_WRITES: Final = ("post", "put", "patch", "delete")
