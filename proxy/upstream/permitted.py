"""What a kubeconfig may use of the machine the proxy runs on: what its operator said, and no more.

Whoever may register a cluster writes its kubeconfig. An exec plugin in it is a program we run, a
token file is a file we read, and what comes of both is sent to the server it names. So the whole
command and the file stand in the settings, which only somebody on that machine can change, and each
for one server: neither can be turned against another one.
"""

import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any, Final

from proxy.reaching import PermittedPlugin, Upstream, place, read_plugin, read_token_file
from proxy.upstream.access import Access, AccessError, load_document, read_access

_KEPT: Final = ("apiVersion", "interactiveMode", "provideClusterInfo")
"""What of an `exec` section is taken from the kubeconfig; the rest is the operator's."""


def permitted(access: Access, settings: Upstream) -> Access:
    """`access` as it may be used here: a plugin's command is the operator's own, word by word.

    Raises AccessError that says what is not permitted, and what to do instead.
    """
    if access.url.scheme == "http" and not _listed(access.server, settings.plain_http):
        raise AccessError(
            f"{access.server} is not encrypted and on the proxy's own machine, and its operator has not permitted that.",
            hint="Use https; or let the operator list the server in `upstream.plain_http`.",
        )
    if access.token_file is not None:
        _require_token_file(access, settings)
    if access.plugin is None:
        return access
    return replace(access, plugin=_permitted_plugin(access, access.plugin, settings))


def described(kubeconfig: str) -> dict[str, object]:
    """What of a kubeconfig goes on record before it is used: the server, and the kind of login."""
    try:
        access = read_access(load_document(kubeconfig.encode()))
    except AccessError:
        return {"login": "cannot be read"}
    verified = {"insecure": True} if access.insecure else {}
    return {"server": access.server, "login": access.login, **verified}


def permitting(settings: Upstream, access: Access, command: str = "") -> Upstream:
    """`settings` that also permit what `access` uses, for an operator who named it themselves.

    `command` is the absolute path of its exec plugin. Raises ValueError when it is none.
    """
    server, added = access.server, dict[str, tuple[str, ...]]()
    if access.url.scheme == "http":
        added["plain_http"] = (*settings.plain_http, server)
    if access.token_file is not None:
        added["token_files"] = (
            *settings.token_files,
            f"{server} {shlex.quote(str(access.token_file))}",
        )
    if access.plugin is not None:
        variables, arguments = _words(access.plugin) or ((), ())
        plugin = PermittedPlugin(server, variables, (command, *arguments))
        added["plugins"] = (*settings.plugins, read_plugin(plugin.line).line)
    return settings.model_copy(update=added)


def _listed(server: str, servers: tuple[str, ...]) -> bool:
    return place(server) in map(place, servers)


def _require_token_file(access: Access, settings: Upstream) -> None:
    _require_verified(access)
    wanted = (place(access.server), str(access.token_file))
    listed = (read_token_file(line) for line in settings.token_files)
    if wanted not in ((place(server), file) for server, file in listed):
        raise AccessError(
            f"The kubeconfig names the token file {access.token_file} on the proxy's own machine, and its operator has not permitted it for {access.server}.",
            hint="Put the token itself into the kubeconfig as `token`; or let the operator list the file in `upstream.token_files`.",
        )


def _permitted_plugin(
    access: Access, section: Mapping[str, Any], settings: Upstream
) -> Mapping[str, Any]:
    _require_verified(access)
    for plugin in map(read_plugin, settings.plugins):
        if place(plugin.server) == place(access.server) and _same(plugin, section):
            kept = {key: section[key] for key in _KEPT if key in section}
            env = [{"name": name, "value": value} for name, value in plugin.environment]
            command, *arguments = plugin.command
            return {**kept, "command": command, "args": arguments, "env": env}
    raise AccessError(
        f"The kubeconfig runs a program on the proxy's own machine (exec: {section['command']}), and its operator has not permitted this command for {access.server}.",
        hint="Put a token or a client certificate into the kubeconfig; or let the operator list the whole command in `upstream.plugins`.",
    )


def _require_verified(access: Access) -> None:
    if access.insecure:
        raise AccessError(
            f"What the proxy's own machine gives as a credential is not sent to {access.server} unverified.",
            hint="Use certificate-authority-data instead of insecure-skip-tls-verify.",
        )


def _same(plugin: PermittedPlugin, section: Mapping[str, Any]) -> bool:
    """Whether an `exec` section is that plugin. Its command may be the bare name."""
    path, *arguments = plugin.command
    if section["command"] not in (path, PurePosixPath(path).name):
        return False
    return _words(section) == (plugin.environment, tuple(arguments))


def _words(
    section: Mapping[str, Any],
) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]] | None:
    """Environment and arguments of an `exec` section; None when it is malformed."""
    arguments, variables = section.get("args") or [], section.get("env") or []
    if not isinstance(arguments, list) or not isinstance(variables, list):
        return None
    if not all(isinstance(item, str) for item in arguments):
        return None
    found = []
    for item in variables:
        name = item.get("name") if isinstance(item, Mapping) else None
        value = item.get("value", "") if isinstance(item, Mapping) else None
        if not isinstance(name, str) or not isinstance(value, str):
            return None
        found.append((name, value))
    return tuple(sorted(found)), tuple(arguments)
