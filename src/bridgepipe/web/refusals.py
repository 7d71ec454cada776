"""What the page refuses, with the status of HTTP that says what kind of refusal it is."""

from __future__ import annotations

from bridgepipe.errors import UserError

FORBIDDEN, NOT_FOUND, TOO_LARGE, TOO_MANY = 403, 404, 413, 429


class Refused(UserError):
    """Bad input of a visitor; any other `UserError` has status 400."""

    def __init__(self, status: int, what: str, where: object, mend: str) -> None:
        super().__init__(what, where, mend)
        self.status = status


def status_of(error: UserError) -> int:
    """Status of HTTP that an error is answered with."""
    return getattr(error, "status", 400)
