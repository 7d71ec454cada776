"""The one exception that a person reads."""


class UserError(Exception):
    """Bad input, told in one line: what is wrong, where, and how to mend it.

    The command line prints the line and exits with code 2; anything else that
    is raised is a defect of bridgepipe and keeps its traceback.
    """

    def __init__(self, what: str, where: object, mend: str) -> None:
        self.what, self.mend = what, mend
        super().__init__(f"{what} ({where}): {mend}")
