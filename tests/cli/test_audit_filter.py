"""Each option of the audit commands reaches the server and means what it says."""

from tests.cli.conftest import Command
from tests.control.plane import Plane


def test_every_filter_reaches_the_server(plane: Plane, command: Command) -> None:
    plane.call()
    hits = [
        "--since 1h", "--until now", "--user al*", "--group dev", "-c prod", "-n shop", "-r po",
        "--name web-0", "--verb get", "--class read", "--status 2xx", "--source 10.0.0.0/8",
        "--tool kubectl", "--session 5f0c", "web-0", "--all",
    ]  # fmt: skip
    misses = [
        "--since now", "--until 1h", "--user bob", "--group ops", "-c test", "-n default", "-r svc",
        "--name db", "--verb list", "--class mutate", "--status >=400", "--source 10.1.0.0/16",
        "--tool helm", "--session x", "--command kubectl-x", "nothing",
    ]  # fmt: skip
    for options in hits:
        assert command("audit", "search", *options.split(), "-o", "name").out.count("\n") == 1, (
            options
        )
    for options in misses:
        done = command("audit", "search", *options.split(), "-o", "name")
        assert (done.code, done.out) == (0, ""), options
