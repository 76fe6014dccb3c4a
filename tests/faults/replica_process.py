"""`kubewitness serve` with a bug planted in it.

Usage: python -m tests.faults.replica_process BUG serve …
"""

import sys

from proxy.__main__ import main
from tests.faults.planted_replicas import BUGS

if __name__ == "__main__":
    name = sys.argv.pop(1)
    with next(bug for bug in BUGS if bug.name == name).plant():
        main()
