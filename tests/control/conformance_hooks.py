"""What schemathesis must not try, read by it as the module that SCHEMATHESIS_HOOKS names.

A request line beyond 64 KiB is refused by the HTTP parser, before there is a request that the document could
speak of; the connection is closed on it.
"""

from typing import Any
from urllib.parse import urlencode

import schemathesis

LONGEST = 32_768
"""Characters of a query, or of the parameters in a path."""


@schemathesis.hook
def filter_query(context: schemathesis.HookContext, query: dict[str, Any] | None) -> bool:
    """Whether a query is one that arrives."""
    del context
    return len(urlencode(query or {}, doseq=True)) <= LONGEST


@schemathesis.hook
def filter_path_parameters(
    context: schemathesis.HookContext, path_parameters: dict[str, Any] | None
) -> bool:
    """Whether what stands in a path arrives."""
    del context
    return len(urlencode(path_parameters or {}, doseq=True)) <= LONGEST
