"""The errors a user can meet. Their text is shown as it is, in one line; causes are chained for the log."""


class RareAuditError(Exception):
    """Anything this package refuses or fails at, explained for the person who runs it."""


class InputError(RareAuditError):
    """An export, or a value given on the command line, can't be used."""


class RuleError(RareAuditError):
    """A rule or exclusions file is wrong; says which file, which field and what was expected."""


class SettingsError(RareAuditError):
    """The environment's settings are wrong; `problems` has every one of them, each beginning with a setting's name."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class UnforeseenError(RareAuditError):
    """Something failed in a way that nobody foresaw: a fault of this package, to be reported."""


class ServiceError(RareAuditError):
    """Something outside (a store, a service, a sink) failed or refused."""


class RefusedError(ServiceError):
    """An answer that repeating won't change; `status` is HTTP's, 0 where the service was not even asked."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status

    @property
    def is_for_content(self) -> bool:
        """Whether what was sent is refused for what it is, so that something else may well be taken.

        Not so for a missing right (401, 403), a missing place (404), or a moment (408, 409, 412, 429).
        """
        return 400 <= self.status < 500 and self.status not in {401, 403, 404, 408, 409, 412, 429}
