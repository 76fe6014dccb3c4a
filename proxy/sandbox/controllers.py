"""The loop that keeps the sandbox moving: after every change, everything is looked at again.

The sandbox is small, so one level-triggered pass over all objects is both simple and quick; nothing
depends on having seen an event.
"""

import asyncio

from proxy.sandbox import collecting, endpoints, workloads
from proxy.sandbox.nodes import Nodes
from proxy.sandbox.registry import Registry


async def run(registry: Registry) -> None:
    """Reconcile until cancelled: at once, after every change, and when a node's next step is due."""
    nodes = Nodes(registry)
    with registry.store.subscribe() as changes:
        while True:
            while not changes.empty():
                changes.get_nowait()
            due = reconcile(registry, nodes)
            if not changes.empty():
                # Give requests a turn between two passes.
                await asyncio.sleep(0)
                continue
            try:
                async with asyncio.timeout(due):
                    await changes.get()
            except TimeoutError:
                continue


def reconcile(registry: Registry, nodes: Nodes) -> float | None:
    """One pass over everything; gives the seconds until the next is due without a change."""
    collecting.reconcile(registry)
    workloads.reconcile(registry)
    endpoints.reconcile(registry)
    return nodes.reconcile()
