"""Names for the shell's completion, asked of the server; silence when it does not answer.

Completion runs on every press of a key, so it waits a second at most and never prints.
"""

from proxy.errors import KubewitnessError


def complete_cluster(incomplete: str) -> list[str]:
    """Names of clusters."""
    return _names("/clusters", "name", incomplete)


def complete_user(incomplete: str) -> list[str]:
    """Users who have a credential."""
    return _names("/credentials", "user", incomplete)


def complete_serial(incomplete: str) -> list[str]:
    """Serials of credentials that have not ended."""
    return _names("/credentials", "serial", incomplete)


def _names(path: str, member: str, incomplete: str) -> list[str]:
    import click

    from proxy.cli.connection import connect

    context = click.get_current_context(silent=True)
    options = context.params if context is not None else {}
    try:
        client = connect(options.get("data_dir"), options.get("via"), timeout=1.0)
        items = client.get(path)["items"]
    except (KubewitnessError, OSError):
        return []
    return sorted({item[member] for item in items if item[member].startswith(incomplete)})
