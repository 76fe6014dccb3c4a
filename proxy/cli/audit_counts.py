"""`kubewitness audit who` and `stats`: the log summed up."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Final

import typer

from proxy.cli.audit_filter import Query
from proxy.cli.completion import complete_cluster
from proxy.cli.connection import connect
from proxy.cli.context import DataDirOption, FormOption, ViaOption
from proxy.cli.moments import local
from proxy.cli.output import Column, Format, say, show, to_json, write
from proxy.clock import SystemClock
from proxy.errors import InvalidInputError


class By(StrEnum):
    """What calls are counted by."""

    USER = "user"
    CLUSTER = "cluster"
    VERB = "verb"
    CLASS = "class"
    RESOURCE = "resource"
    NAMESPACE = "namespace"
    STATUS = "status"
    TOOL = "tool"
    SOURCE = "source"


_WHO: Final = (
    Column("user", 6),
    Column("calls", 5, right=True),
    Column("verbs", 12, 1),
    Column("first", 8, 2),
    Column("last", 8),
    Column("status", 6, 3),
)


def who(
    thing: Annotated[
        str, typer.Argument(metavar="RESOURCE/NAME", help="The object, such as deploy/web.")
    ],
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Its namespace.")] = "",
    cluster: Annotated[
        str,
        typer.Option(
            "--cluster", "-c", autocompletion=complete_cluster, help="Its cluster; default: any."
        ),
    ] = "",
    form: FormOption = Format.TABLE,
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:
    """List who touched an object, the latest first."""
    resource, slash, name = thing.partition("/")
    if not slash or not resource or not name:
        raise InvalidInputError(f"{thing!r} is not an object.", hint="Write it like deploy/web.")
    query = {"resource": resource, "name": name, "namespace": namespace, "cluster": cluster}
    items = connect(data_dir, via).get("/audit/who", query)["items"]
    rows = [
        (
            item["user"] or "-",
            item["calls"],
            ", ".join(f"{verb} {count}" for verb, count in sorted(item["verbs"].items())),
            local(item["firstSeen"], short=True),
            local(item["lastSeen"], short=True),
            "" if item["lastStatus"] is None else item["lastStatus"],
        )
        for item in items
    ]
    show(
        form,
        items,
        _WHO,
        rows,
        name="user",
        empty=f"Nobody touched {thing}, as far as it went through here.",
    )


_COUNTED: Final = (
    Column("calls", 6, right=True),
    Column("failed", 6, right=True),
    Column("share", 5, 1, right=True),
)


def stats(
    query: Query,
    by: Annotated[By, typer.Option("--by", help="What to count by.")] = By.USER,
    limit: Annotated[
        int, typer.Option("--limit", "-l", min=1, max=1000, help="So many rows at most.")
    ] = 20,
    form: FormOption = Format.TABLE,
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:
    """Count calls, by default of the last 24 hours."""
    query = {"since": _day_ago()} | query
    found = connect(data_dir, via).get("/audit/stats", query | {"by": by.value, "limit": limit})
    items = found["items"]
    if form is Format.JSON:
        write(to_json(found) + "\n")
        return
    total = found["total"] or 1
    rows = [
        (item["value"] or "-", item["count"], item["failed"], f"{item['count'] / total:.0%}")
        for item in items
    ]
    show(form, items, (Column(by.value, 10), *_COUNTED), rows, name="value", empty="No calls.")
    if form is Format.TABLE and items:
        say(
            f"{found['total']} calls, {found['failed']} failed, since {local(str(query['since']))}."
        )


def _day_ago() -> str:
    when = datetime.fromtimestamp(SystemClock.now(), UTC) - timedelta(days=1)
    return when.isoformat().replace("+00:00", "Z")
