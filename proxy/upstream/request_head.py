"""Request heads, always written anew: what came from a client is never passed on raw."""


def encode(method: bytes, target: bytes, headers: list[tuple[bytes, bytes]]) -> bytes:
    """The head of an HTTP/1.1 request. Names and values must have passed the last gate."""
    lines = [b"%b %b HTTP/1.1" % (method, target)]
    lines += map(b": ".join, headers)
    lines.append(b"\r\n")
    return b"\r\n".join(lines)
