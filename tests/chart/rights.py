"""What the groups of grants may do, as the chart holds it: of `proxy.upstream.rights`, in a form that templates can use.

What is for a whole cluster stands there as it is; what is for a namespace stands there once, with a word in the place of
the namespace's name.
"""

from typing import Any

import yaml

from proxy.upstream.rights import groups, rights
from tests.chart.helm import CHART

FILE = CHART / "files" / "rights.yaml"
PLACEHOLDER = "NAMESPACE"
"""No namespace can be called that, and nothing else here is: templates replace it wherever it stands."""
_HEAD = f"""\
# What the groups that grants give may do. Written from proxy/upstream/rights.py by `make docs`.
# {PLACEHOLDER} stands for each of impersonation.roles.namespaces.
"""


def rights_text() -> str:
    """The file: groups and objects of a cluster, and those that each namespace adds. The labels are the chart's."""
    whole: dict[str, list[Any]] = {"groups": groups([]), "objects": rights([], {})}
    one: dict[str, list[Any]] = {
        "groups": [name for name in groups([PLACEHOLDER]) if name not in whole["groups"]],
        "objects": [item for item in rights([PLACEHOLDER], {}) if item not in whole["objects"]],
    }
    return _HEAD + yaml.safe_dump({"cluster": whole, "namespace": one}, sort_keys=False)
