"""What the sandbox says no with: errors that become a `metav1.Status` with the right code and reason."""

from proxy.sandbox.kinds import Kind
from proxy.sandbox.objects import Object


class ApiError(Exception):
    """A refusal of the sandbox's API: HTTP `code`, machine-readable `reason`, message for people."""

    def __init__(self, code: int, reason: str, message: str, details: Object | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details

    def status(self) -> Object:
        """The refusal as a `Status` object."""
        body: Object = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
        }
        if self.details:
            body["details"] = self.details
        body["code"] = self.code
        return body


def _details(kind: Kind, name: str) -> Object:
    return {"name": name, **({"group": kind.group} if kind.group else {}), "kind": kind.plural}


def not_found(kind: Kind, name: str) -> ApiError:
    """404: no such object."""
    return ApiError(404, "NotFound", f'{kind.qualified} "{name}" not found', _details(kind, name))


def already_exists(kind: Kind, name: str) -> ApiError:
    """409: an object of that name is there."""
    message = f'{kind.qualified} "{name}" already exists'
    return ApiError(409, "AlreadyExists", message, _details(kind, name))


def conflict(kind: Kind, name: str, why: str) -> ApiError:
    """409: somebody else changed the object in between, or a precondition does not hold."""
    message = f'Operation cannot be fulfilled on {kind.qualified} "{name}": {why}'
    return ApiError(409, "Conflict", message, _details(kind, name))


def invalid(kind: Kind, name: str, field: str, why: str) -> ApiError:
    """422: the object breaks a rule; `field` says where."""
    full = f"{kind.name}.{kind.group}" if kind.group else kind.name
    message = f'{full} "{name}" is invalid: {field}: {why}'
    details = _details(kind, name) | {
        "kind": kind.name,
        "causes": [{"reason": "FieldValueInvalid", "message": why, "field": field}],
    }
    return ApiError(422, "Invalid", message, details)


def bad_request(message: str) -> ApiError:
    """400: the request makes no sense."""
    return ApiError(400, "BadRequest", message)


def forbidden(message: str) -> ApiError:
    """403: understood, and refused."""
    return ApiError(403, "Forbidden", message)


def no_such_path() -> ApiError:
    """404: the sandbox has nothing at this address."""
    message = "the server could not find the requested resource"
    return ApiError(404, "NotFound", message)


def method_not_allowed() -> ApiError:
    """405: the path exists and the verb does not."""
    message = "the server does not allow this method on the requested resource"
    return ApiError(405, "MethodNotAllowed", message)


def expired(message: str) -> ApiError:
    """410: the asked resource version is no longer remembered."""
    return ApiError(410, "Expired", message)


def not_offered(what: str) -> ApiError:
    """501: a real cluster does this; the sandbox does not."""
    message = f"{what} is not offered by the sandbox cluster; try it against a real one"
    return ApiError(501, "NotImplemented", message)
