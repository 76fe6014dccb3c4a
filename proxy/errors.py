"""The error family: every failure a person can do something about.

Foreign exceptions are translated at the edge where they appear, with the cause kept.
The message says what was wrong and where; `hint` says what to do. Neither ever holds a secret.
Subclasses exist only where somebody catches them.
"""


class KubewitnessError(Exception):
    """Base of all errors this product raises on purpose.

    `hint` is one sentence that tells a person what to do next, or empty.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


class SettingsError(KubewitnessError):
    """A setting is missing, malformed or contradicts another."""

    exit_code = 2


class NotFoundError(KubewitnessError):
    """A named thing does not exist."""

    exit_code = 4


def not_found(kind: str, name: str, more: str = "") -> NotFoundError:
    """The error for one of what `kubewitness KIND list` lists; `more` is added to that hint.

    In the same words whether it does not exist or somebody may not know that it does.
    """
    return NotFoundError(
        f"There is no {kind} {name!r}.",
        hint=f"`kubewitness {kind} list` shows those there are{more}.",
    )


class ConflictError(KubewitnessError):
    """A named thing exists already, or changed in between."""

    exit_code = 5


class PreconditionError(ConflictError):
    """A thing is not as it was when the caller looked at it."""


class InvalidInputError(KubewitnessError):
    """A value handed in by a person or a client is not acceptable."""

    exit_code = 2


class DeniedError(KubewitnessError):
    """The caller may not do this."""

    exit_code = 3


class UnavailableError(KubewitnessError):
    """Something we need (cluster, database, disk, control plane) does not answer now."""

    exit_code = 6
