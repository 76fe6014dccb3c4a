"""A process to be killed: appends calls as fast as it can and prints each one that is durable.

Usage: python killed.py DATA_DIR SEED
"""

import asyncio
import os
import random
import sys
from pathlib import Path

from proxy.audit.journal.writer import JournalWriter
from proxy.settings import Journal
from tests.audit.journals import a_call, intent, outcome


async def main(data_dir: Path, seed: int) -> None:
    chance = random.Random(seed)
    journal = await JournalWriter.open(data_dir, "0", Journal(segment_bytes=64 * 1024))

    async def client() -> None:
        while True:
            call = a_call()
            await journal.append(intent(call))
            os.write(1, f"intent {call.audit_id}\n".encode())
            await asyncio.sleep(chance.random() / 1000)
            await journal.append(outcome(call))
            os.write(1, f"outcome {call.audit_id}\n".encode())

    await asyncio.gather(*(client() for _ in range(16)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
