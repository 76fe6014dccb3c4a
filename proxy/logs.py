"""Logging: structlog, one canonical line per thing that happened, console for people or JSON.

Secrets never get here: callers log names and numbers, not headers, tokens or keys.
"""

import logging
import sys
from typing import Literal, TextIO

import structlog

Format = Literal["auto", "console", "json"]
Level = Literal["debug", "info", "warning", "error"]


def configure(level: Level = "info", fmt: Format = "auto", stream: TextIO | None = None) -> None:
    """Set up structlog and the standard library's loggers to write to `stream` (stderr).

    `auto` means console on a terminal and JSON elsewhere.
    """
    out = stream if stream is not None else sys.stderr
    as_json = fmt == "json" or (fmt == "auto" and not out.isatty())
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.dev.ConsoleRenderer(
            colors=out.isatty(),
            # The default shows local variables, and those hold tokens and keys.
            exception_formatter=structlog.dev.plain_traceback,
        )
    )
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if as_json:
        shared.append(structlog.processors.format_exc_info)
    threshold = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processor=renderer)
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Libraries speak at info about every request; only our own events are that loud.
    root.setLevel(max(threshold, logging.WARNING))
