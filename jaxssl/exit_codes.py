"""The exit codes of all commands: one table, for the code, the help and the documentation."""

import enum


class ExitCode(enum.IntEnum):
    """What the exit code of a command says; `meaning` is the text of the table."""

    DONE = 0, "done"
    BUG = 1, "a bug, with its traceback; or the reader of a pipe has ended"
    WRONG_INPUT = 2, "the input is wrong, or a disk is full: the line says what, and the way out"
    HOST_IS_GONE = 75, "another host of the run is gone, or was never there"
    STUCK = 76, "this host has finished no step for hosts.stuck_after seconds"
    SAVED_NOT_FINISHED = 77, "asked to stop: the state is saved, and steps are left"
    INTERRUPTED = 130, "Ctrl-C outside of training, or three times during it"

    meaning: str

    def __new__(cls, value: int, meaning: str) -> "ExitCode":
        """Makes the member with its number and its text."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member


# After these codes a restart would change nothing, or was not wanted.
FINAL = (
    ExitCode.DONE,
    ExitCode.WRONG_INPUT,
    ExitCode.SAVED_NOT_FINISHED,
    ExitCode.INTERRUPTED,
)


def exit_code_table() -> str:
    """Returns the table of the exit codes, a line for each, for a command's help."""
    return "\n".join(f"  {code.value:>3}  {code.meaning}" for code in ExitCode)
