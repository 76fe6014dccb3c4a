"""A request as it came off the wire."""

from proxy.upstream.stream import ByteStream


class Request:
    """One request as it came: nothing decoded, nothing decided."""

    __slots__ = (
        "body",
        "expects",
        "headers",
        "keep_alive",
        "method",
        "target",
        "upgrade",
        "version",
    )

    def __init__(self, method: bytes, target: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        self.method = method
        self.target = target
        self.headers = headers
        self.version = "1.1"
        self.body: ByteStream | None = None
        """None when the framing says that there is none."""
        self.keep_alive = True
        self.upgrade = False
        self.expects = False
        """The client waits for `100 Continue` before it sends the body (RFC 9110 §10.1.1)."""
