"""Why something below pconv failed, short enough for one line."""

_LONGEST = 160


def reason(error: BaseException) -> str:
    """Give the first line of the innermost error, for a sentence to go on after it."""
    while error.__cause__ is not None:
        error = error.__cause__
    line = (str(error).strip().splitlines() or [""])[0].rstrip(".")
    line = line if len(line) <= _LONGEST else line[: _LONGEST - 3] + "..."
    return line or type(error).__name__
