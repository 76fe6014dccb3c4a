"""One odd object must not stop the controllers from looking after the others."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import structlog

from proxy.sandbox.failures import ApiError
from proxy.sandbox.objects import Object, name_of

P = ParamSpec("P")
T = TypeVar("T")
_log = structlog.get_logger(__name__)


def attempt(item: Object, step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
    """What `step` gives; None when it fails over `item`, which is logged and tried again next time."""
    try:
        return step(*args, **kwargs)
    except (ApiError, KeyError, TypeError, ValueError, AttributeError) as error:
        _log.warning(
            "sandbox controller cannot handle an object",
            kind=item.get("kind", ""),
            name=name_of(item),
            error=f"{type(error).__name__}: {error}",
        )
        return None
