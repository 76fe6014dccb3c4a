"""The sandbox cluster of `make demo`: a small Kubernetes API in memory, good enough for a real kubectl.

It holds objects, answers with tables, streams watches, runs a few controllers and invents nodes, logs
and a shell. It listens on loopback, in plain HTTP unless told otherwise, with a bearer token of its
own making, and its one account may only impersonate, as the proxy's account on a real cluster should.
It is built on aiohttp rather than on kmock because exec needs upgraded connections, which kmock does
not aim to serve.

What it is not: admission, RBAC, quotas, custom resources, port-forward, cp and the SPDY form of exec
are left to real clusters; where a person could try them, a Status says so.
"""

from proxy.sandbox.cluster import Sandbox

__all__ = ["Sandbox"]
