"""Names for the shell's completion, asked of the server; silence when it does not answer.

Completion runs on every press of a key, so it waits a second at most and never prints.
"""

import typer

from proxy.errors import KubewitnessError, UnavailableError


def complete_cluster(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of clusters."""
    return _names([("/clusters", "name")], ctx, incomplete)


def complete_place(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of clusters, as long as no namespaces are being written after one."""
    return [] if ":" in incomplete else complete_cluster(ctx, incomplete)


def complete_user(ctx: typer.Context, incomplete: str) -> list[str]:
    """Users who are registered or have a credential."""
    return _names([("/users", "name"), ("/credentials", "user")], ctx, incomplete)


def complete_registered(ctx: typer.Context, incomplete: str) -> list[str]:
    """Users who are registered."""
    return _names([("/users", "name")], ctx, incomplete)


def complete_group(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of groups."""
    return _names([("/groups", "name")], ctx, incomplete)


def complete_project(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of projects."""
    return _names([("/projects", "name")], ctx, incomplete)


def complete_role(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of roles, those that are built in too."""
    return _names([("/roles", "name")], ctx, incomplete)


def complete_grant(ctx: typer.Context, incomplete: str) -> list[str]:
    """Ids of grants that stand."""
    return _names([("/grants", "id")], ctx, incomplete)


def complete_token(ctx: typer.Context, incomplete: str) -> list[str]:
    """Ids of API tokens that stand."""
    return _names([("/tokens", "id")], ctx, incomplete)


def complete_serial(ctx: typer.Context, incomplete: str) -> list[str]:
    """Serials of credentials that have not ended."""
    return _names([("/credentials", "serial")], ctx, incomplete)


def complete_permission(incomplete: str) -> list[str]:
    """Words for permissions."""
    from proxy.state.permission import Permission

    return [item.value for item in Permission if item.value.startswith(incomplete)]


def _names(sources: list[tuple[str, str]], ctx: typer.Context, incomplete: str) -> list[str]:
    from proxy.cli.connection import connect

    found: set[str] = set()
    options = ctx.params
    try:
        client = connect(options.get("data_dir"), options.get("via"), timeout=1.0)
    except (KubewitnessError, OSError):
        return []
    for path, member in sources:
        try:
            # One page: nobody reads more names than that.
            found |= {str(item[member]) for item in client.get(path)["items"]}
        except UnavailableError:
            break
        except (KubewitnessError, OSError, KeyError, TypeError):
            # Who may see one of the lists and not the other is shown that one.
            continue
    return sorted(name for name in found if name.startswith(incomplete))
