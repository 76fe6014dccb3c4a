"""Set-up common to all tests."""

import asyncio

# Python 3.11 to 3.13 make a loop when one is asked for and none was ever set. The looptime plugin
# asks before each test, and the loop it gets in front of the first one would never be closed.
asyncio.set_event_loop(None)
