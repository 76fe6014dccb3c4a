"""Environment variables that belong to others (systemd, XDG, prometheus-client).

Ours, `KUBEWITNESS_…`, are settings and are read by `proxy.settings`.
"""

import os


def variable(name: str) -> str:
    """The value of `name`, empty when it is not set."""
    return os.environ.get(name, "")  # noqa: TID251  # the one place for foreign names


def publish(name: str, value: str) -> None:
    """Set `name` for libraries of this process and for its children."""
    os.environ[name] = value  # noqa: TID251


def remove(name: str) -> str:
    """Take `name` away from this process and its children; returns what it was."""
    return os.environ.pop(name, "")  # noqa: TID251


def inherited() -> dict[str, str]:
    """A copy of all of it, for a program that we start."""
    return dict(os.environ)  # noqa: TID251
