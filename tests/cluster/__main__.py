"""`python -m tests.cluster build | shell | run -- COMMAND`: a real Kubernetes cluster for one command.

build    builds what is missing, and nothing else
run      starts a cluster, runs COMMAND in it with KUBECONFIG set, and ends with its exit code
shell    the same with a shell, for trying by hand

What COMMAND finds in its environment:
  KUBECONFIG          the administrator of the cluster
  CLUSTER_BIN         a directory with kubectl, kubectl-older, helm and everything else of the cluster
  CLUSTER_AUDIT_LOG   the API server's own audit log
  CLUSTER2_KUBECONFIG, CLUSTER2_AUDIT_LOG   the same of a second cluster, which has no node
  CLUSTER3_KUBECONFIG, CLUSTER3_AUDIT_LOG   and of a third one
"""

import argparse
import os
import sys
from pathlib import Path

from tests.cluster import build, contain, inside


def main(arguments: list[str]) -> int:
    """Run the command line and give the exit code."""
    if arguments[:1] == ["inside"]:
        return _inside(arguments[1:])
    parser = argparse.ArgumentParser(
        prog="python -m tests.cluster",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("action", choices=["build", "shell", "run"])
    parser.add_argument("--keep-logs", action="store_true", help="keep the components' logs")
    own, command = _split(arguments)
    options = parser.parse_args(own)
    if (options.action == "run") != bool(command):
        parser.error("`run` needs a command after `--`, the others take none")
    try:
        build.ensure()
    except build.BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if options.action == "build":
        return 0
    command = command or [os.environ.get("SHELL") or "/bin/sh"]
    return contain.enter(command, keep_logs=options.keep_logs)


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """What is ours, and the command after the first `--`."""
    if "--" not in arguments:
        return arguments, []
    at = arguments.index("--")
    return arguments[:at], arguments[at + 1 :]


def _inside(arguments: list[str]) -> int:
    """The same program as the first process of the room; only `contain.enter` starts it so."""
    logs, *command = arguments
    return contain.first_process(lambda: inside.run(Path(logs), command))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
