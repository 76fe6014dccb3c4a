"""Schema migrations of the state (Alembic), run from the package: there is no alembic.ini.

A change of `proxy.state.tables` is a new module in `versions/`, and `HEAD` names it.
"""

from typing import Final

HEAD: Final = "0008"
"""The revision a database of this version has; compared before Alembic is even imported."""
