"""The one error that is the user's to mend; everything else is a bug and keeps its traceback."""


class InputError(Exception):
    """Names the value, the limit and the way out. Command lines print it as one line and exit with 2.

    Not a ValueError: what reads flags would take that for its own and print a box around it.
    """
