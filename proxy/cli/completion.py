"""Names for the shell's completion, asked of the server; silence when it does not answer.

Completion runs on every press of a key, so it waits a second at most and never prints.
"""

import typer

from proxy.errors import KubewitnessError


def complete_cluster(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of clusters."""
    return _names("/clusters", "name", ctx, incomplete)


def complete_user(ctx: typer.Context, incomplete: str) -> list[str]:
    """Users who have a credential."""
    return _names("/credentials", "user", ctx, incomplete)


def complete_serial(ctx: typer.Context, incomplete: str) -> list[str]:
    """Serials of credentials that have not ended."""
    return _names("/credentials", "serial", ctx, incomplete)


def _names(path: str, member: str, ctx: typer.Context, incomplete: str) -> list[str]:
    from proxy.cli.connection import connect

    options = ctx.params
    try:
        client = connect(options.get("data_dir"), options.get("via"), timeout=1.0)
        items = client.get(path)["items"]
    except (KubewitnessError, OSError):
        return []
    return sorted({item[member] for item in items if item[member].startswith(incomplete)})
