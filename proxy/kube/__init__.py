"""What Kubernetes means by a request, as pure functions.

Nothing here reads a socket, a clock or a file, and nothing logs: bytes and strings go in, frozen
values come out. `request_info` says what kube-apiserver will understand by a request target,
`headers` and `impersonation` say what may be sent there and as whom, `status` says how to refuse.
The package is the place where a parsing difference would become a security hole, so every rule
follows the Go code of Kubernetes 1.37 to the letter, or refuses what two parsers could read
in two ways.
"""
