"""`kubewitness audit system`: what was done here, by whom, and whether it was allowed."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from proxy.audit.event import REQUESTED
from proxy.cli.audit_live import Printer, follow
from proxy.cli.completion import complete_user
from proxy.cli.connection import connect
from proxy.cli.context import DataDirOption, FormOption, ViaOption
from proxy.cli.looking import PAGE, say_behind
from proxy.cli.moments import local, to_api
from proxy.cli.output import Column, Format, say, show

if TYPE_CHECKING:
    from proxy.cli.client import Client

Event = Mapping[str, Any]

COLUMNS: Final = (
    Column("time", whole=True),
    Column("actor", 8),
    Column("action", 14),
    Column("target", 14),
    Column("outcome", 10),
    Column("from", 9, 2),
    Column("via", 4, 3),
    Column("reason", 10, 1),
)
_WIDTHS: Final = (8, 14, 20, 24, 24, 15, 9, 20)
_BEFORE: Final = 10


def system(
    actor: Annotated[
        list[str] | None,
        typer.Option(
            "--actor", "-u", help="Who did it; 'ci-*' for all that begin so, as in every text here.",
            autocompletion=complete_user, show_default=False,
        ),
    ] = None,
    action: Annotated[
        list[str] | None,
        typer.Option("--action", help="What: grant.add, 'credential.*' …", show_default=False),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option("--target", help="To whom or what it was done.", show_default=False),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", help="From: 24h, 7d, today, 21:00 or RFC 3339.", show_default=False),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", help="Until, written likewise.", show_default=False)
    ] = None,
    denied: Annotated[bool, typer.Option("--denied", help="Only what was refused.")] = False,
    everything: Annotated[
        bool,
        typer.Option("--all", "-a", help="Also that an act was begun, where its end is shown."),
    ] = False,
    following: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with each new one, begun and ended.")
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", "-l", min=1, max=1000, show_default=False,
            help="So many at most: 50; with -f so many of before: 10.",
        ),
    ] = None,
    form: FormOption = Format.TABLE,
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:  # fmt: skip
    """Show administrative acts and looks at the log, allowed or denied, newest first."""
    query: dict[str, object] = {
        "user": actor,
        "action": action,
        "target": target,
        "since": to_api(since, "--since"),
        "until": to_api(until, "--until"),
        "reason": ["denied*"] if denied else None,
    }
    query = {name: value for name, value in query.items() if value} | {"kind": ["system"]}
    client = connect(data_dir, via)
    if following:
        printer = Printer(form, COLUMNS, _WIDTHS, row)
        follow(client, query | {"last": limit or _BEFORE}, printer, "audit system -f")
        return
    _show(client, query, form, limit or 50, everything=everything)


def _show(
    client: "Client", query: Mapping[str, object], form: Format, limit: int, *, everything: bool
) -> None:
    pages = _Pages(client, query, min(PAGE, 2 * limit))
    found = pages.events() if everything else _acts(pages.events())
    items = [item for _, item in zip(range(limit), found, strict=False)]
    rows = [row(item) for item in items]
    show(form, items, COLUMNS, rows, name="auditID", empty="Nothing found that you may see.")
    if not pages.complete:
        say_behind("acts")
    if next(found, None) is not None:
        say("There are more; --limit shows more of them, --since and the other filters fewer.")


class _Pages:
    """Events, newest first, page by page as they are wanted."""

    def __init__(self, client: "Client", query: Mapping[str, object], size: int) -> None:
        self._client = client
        self._query = query
        self._size = size
        self.complete = True

    def events(self) -> Iterator[Event]:
        """One after the other."""
        cursor = ""
        while True:
            query = {**self._query, "limit": self._size, "cursor": cursor}
            page = self._client.get("/audit/calls", query)
            self.complete = self.complete and page["complete"]
            yield from page["items"]
            cursor = page["next"]
            if not cursor:
                return


def _acts(events: Iterator[Event]) -> Iterator[Event]:
    """Each act once: what came of it, or that it was begun when nothing has."""
    ended: set[str] = set()
    for event in events:
        if event.get("outcome") != REQUESTED:
            ended.add(str(event["auditID"]))
        elif event["auditID"] in ended:
            continue
        yield event


def row(event: Event) -> tuple[str, ...]:
    """The cells of an event."""
    detail = event.get("detail") or {}
    return (
        local(str(event.get("stageTimestamp", "")), short=True),
        str(event.get("actor") or "-"),
        str(event.get("action", "")),
        str(event.get("target", "")),
        str(event.get("outcome") or "ok"),
        ", ".join(event.get("sourceIPs", [])),
        str(detail.get("via", "")),
        str(detail.get("reason", "")),
    )
