"""A sandbox cluster in a process of its own. Prints its kubeconfig as one line of JSON.

Usage: python -m tests.faults.sandbox_process

Runs until standard input ends.
"""

import asyncio
import json
import sys

from proxy.sandbox.cluster import Sandbox


async def main() -> None:
    sandbox = Sandbox(tls=True)
    await sandbox.start()
    print(json.dumps(sandbox.kubeconfig()), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await sandbox.stop()


if __name__ == "__main__":
    asyncio.run(main())
