"""The error that means wrong input: the command line prints it as one line and exits with 2."""

from __future__ import annotations


class UserError(ValueError):
    """Reports wrong input: which parameter, what is wrong with its value, and the remedy.

    Only this error and `FileNotFoundError` become one line and exit code 2; any other exception is a bug and
    shows its traceback (exit code 1). Rooms below the command line name Python parameters, never flags:
    `UserError("crop_scale", "(0.9, 0.5) must be two rising shares; leave out `crop` to take the default")`.
    The command line replaces the parameter, and every name of a parameter between backticks in the message,
    by its flag.

    Attributes:
        parameter: name of the parameter as the function or constructor has it; None where no single
            parameter is to blame.
        message: what is wrong with its value, and what to do.
    """

    def __init__(self, parameter: str | None, message: str) -> None:
        super().__init__(parameter, message)  # both, so that it can be pickled
        self.parameter, self.message = parameter, message

    def __str__(self) -> str:
        return self.message if self.parameter is None else f"{self.parameter}: {self.message}"
