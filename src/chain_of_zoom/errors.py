"""Every error a user can meet. Each class has the exit code that the command line returns.

    ChainOfZoomError
    ├── UsageError          2  an option, name or number that makes no sense
    ├── BadInputError       3  a picture that cannot be read
    │   └── MetricError     3  a picture that a metric cannot judge
    ├── OutputError         4  a file or folder that cannot be written
    │   └── OccupiedError   4  a folder that holds another run, or files of somebody else, or is in use
    │       └── InUseError  4  a folder that another process is writing to at the moment
    ├── MissingError        5  an extra, weights, a model or a plugin that is not installed, or not whole
    │   └── DownError       5  a server that does not answer for the time being
    └── BackboneError       6  a backbone that failed or returned something unusable
        └── ShortageError   6  less memory than a backbone needs

A message is one line: what is wrong; what is accepted; what to type.
"""

from __future__ import annotations

from collections.abc import Iterable


class ChainOfZoomError(Exception):
    """Base of all errors raised on purpose by this package."""

    exit_code = 1


class UsageError(ChainOfZoomError, ValueError):
    """An option, a name or a number that makes no sense."""

    exit_code = 2


class BadInputError(ChainOfZoomError):
    """A picture that cannot be read: missing, empty, damaged, or larger than the limits."""

    exit_code = 3


class MetricError(BadInputError):
    """A picture that a metric cannot judge: too small, of another size than its reference, without a finite value."""


class OutputError(ChainOfZoomError):
    """A file that cannot be written, or a folder that holds another run."""

    exit_code = 4


class OccupiedError(OutputError):
    """A folder that holds another run or somebody else's files, or that another process is writing to."""


class InUseError(OccupiedError):
    """A folder that another process is writing to: asking again later may help."""


class MissingError(ChainOfZoomError):
    """An extra, weights, a model or a plugin that is not installed, or not whole; the message says what to type."""

    exit_code = 5


class DownError(MissingError):
    """A server that does not answer, or not yet: asking again later may help."""


class BackboneError(ChainOfZoomError):
    """A backbone failed, or returned a picture that is not one (wrong shape, NaN, flat)."""

    exit_code = 6


class ShortageError(BackboneError):
    """Less memory than the weights or a window of a backbone need; asking again as it is does not help."""


def suggest(name: str, accepted: Iterable[str], otherwise: str, prefix: str = "") -> str:
    """Return "did you mean X?" for the accepted name that is spelled most like `name`, or `otherwise` without one.

    Capitals count for nothing. prefix: stands before the name that is suggested, as in "did you mean --preset paper?".
    """
    import difflib  # only an error needs it

    names = {spelling.lower(): spelling for spelling in accepted}
    close = difflib.get_close_matches(name.lower(), list(names), 1)
    return f"did you mean {prefix}{names[close[0]]}?" if close else otherwise


def rebuild(name: str, message: str) -> Exception:
    """Make the error again that another process had, of the name of its class and its message.

    One of this package is of its class; any other is of a class of that name, without what the original could do.
    """
    kind = globals().get(name)
    if isinstance(kind, type) and issubclass(kind, ChainOfZoomError):
        return kind(message)
    foreign: type[Exception] = type(name, (Exception,), {})
    return foreign(message)
