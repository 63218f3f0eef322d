"""The one exception a person can act on."""


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
