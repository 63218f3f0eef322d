"""How a stage ends when it does not end well, and the exit code of each way."""

DONE, BAD_INPUT, DISK_TROUBLE, STOPPED = 0, 2, 74, 75
"""Exit codes; the last two are BSD's EX_IOERR and EX_TEMPFAIL. Anything else is a bug."""


class UserError(Exception):
    """Bad input: something a person can mend. Everything else is a bug and shows its traceback.

    ``message`` names the file or setting, what was found and what was expected; ``hint`` says what
    to do. The command line prints both without a traceback and exits with code 2.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message


class Stopped(Exception):
    """The stage was asked to end (SIGTERM) and did, with its work kept; exit code 75."""
