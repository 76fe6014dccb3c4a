"""What the server says of itself and of the caller."""

from proxy import __version__
from proxy.cli.client import Client
from proxy.state.snapshot import Usage
from tests.control.plane import Plane


def test_version_and_whoami(plane: Plane) -> None:
    client = plane.client()
    assert client.get("/version") == {"version": __version__}
    answer = client.get("/whoami")
    assert (answer["user"], answer["usage"], answer["source"]) == ("admin", "admin", "127.0.0.1")
    other = Client(plane.credential("carol", Usage.ADMIN)).get("/whoami")
    assert (other["user"], other["groups"]) == ("carol", ["dev"])
