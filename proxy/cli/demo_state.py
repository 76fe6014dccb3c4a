"""What a demo remembers between starts: its ports, so that kubeconfigs stay good, and its token."""

import json
import secrets
import socket
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final, Self

from proxy.errors import UnavailableError
from proxy.files import replace_private
from proxy.settings import Settings, load

_FILE: Final = "demo.json"
_PORTS: Final = {"listen": 8443, "control": 9443, "metrics": 9464, "sandbox": 18080}
"""Where it listens when nobody else does; all on loopback."""
LOOPBACK: Final = "127.0.0.1"


@dataclass(slots=True)
class DemoState:
    """The file `demo.json`, and the directory it is in."""

    directory: Path
    ports: dict[str, int] = field(default_factory=dict)
    token: str = ""
    """Of the proxy's account in the sandbox."""
    clusters: dict[str, str] = field(default_factory=dict)
    """Cluster → digest of the kubeconfig it was registered with."""

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read what the last demo remembered, and choose ports that are free now."""
        state = cls(directory)
        try:
            found = json.loads((directory / _FILE).read_text())
            state.ports = {str(key): int(value) for key, value in found["ports"].items()}
            state.token = str(found["token"])
            state.clusters = dict(found["clusters"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            state.token = secrets.token_urlsafe(32)
        taken: set[int] = set()
        for name, port in _PORTS.items():
            chosen = _free((state.ports.get(name, port), port, 0), taken)
            taken.add(chosen)
            state.ports[name] = chosen
        return state

    def save(self) -> None:
        """Remember it, readable by its owner only."""
        content = {key: value for key, value in asdict(self).items() if key != "directory"}
        replace_private(self.directory / _FILE, json.dumps(content, indent=1).encode())

    def settings(self) -> Settings:
        """The settings of the demo's proxy; flags, so nothing outside changes them."""
        return load(
            {
                "data_dir": self.directory,
                **{name: f"{LOOPBACK}:{self.ports[name]}" for name in _PORTS if name != "sandbox"},
                "workers": 1,
                "drain_timeout": 2.0,
                "log": {"level": "warning"},
                # A demo starts anywhere, also in a container; `serve` warns of it then.
                "journal": {"unsafe_filesystem": "allow"},
            }
        )


def _free(wanted: tuple[int, ...], taken: set[int]) -> int:
    for port in wanted:
        if port in taken:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise UnavailableError("No port is free on the loopback address.")
