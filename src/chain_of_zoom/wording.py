"""Messages in the words of Python: options of the command line, which those of errors name, become keywords."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from chain_of_zoom.errors import ChainOfZoomError

_KEYWORDS = {"zoom": "magnification", "list": "listed", "o": "out"}
_SWITCHES = ("force", "recursive", "animate", "skip-done")
_LOADERS = ("device", "dtype", "memory")  # which functions take among the options of the backbone
_COMMAND = re.compile(r"\b(coz|pip|sudo)\b.* -")
_SET = re.compile(r"--set (backbone|prompter|photo)\.(\w+)=([^\s;,]+)")
_OPTION = re.compile(
    r"(?<![\w-])(?:--(?P<name>[a-z][a-z-]*)|-(?P<short>o))(?![\w-])"
    r"(?: (?P<value>'[^']*'|-?[\d.][^\s;]*[^\s;,.]|-?\d|nan|inf|[A-Z]+\b"
    r"|(?<=(?:ode|col|fix|end|ice|ype|ory|out) )[a-z]\w*|(?<=-o )\w[\w.]*))?"
)


@contextmanager
def python_words() -> Iterator[None]:
    """Errors that leave the block, or the function that it decorates, name keywords instead of options."""
    try:
        yield
    except ChainOfZoomError as error:
        reword(error)
        raise


def reword(error: BaseException | None) -> None:
    """Name keywords instead of options in the message of an error of this package."""
    if isinstance(error, ChainOfZoomError):
        error.args = ("; ".join(_reworded(part) for part in str(error).split("; ")),)


def _reworded(part: str) -> str:
    if _COMMAND.search(part):  # something to type in a terminal
        return part
    return _OPTION.sub(
        _keyword, _SET.sub(lambda match: f"{match[1]}_options={{'{match[2]}': {_literal(match[3])}}}", part)
    )


def _keyword(match: re.Match[str]) -> str:
    option = match["name"] or match["short"]
    value = match["value"]
    keyword = _KEYWORDS.get(option, option.replace("-", "_"))
    if option in _SWITCHES:
        return f"{keyword}=True"
    if option in _LOADERS:
        return f"backbone_options={{'{keyword}': {_literal(value) if value else '...'}}}"
    return f"{keyword}={_literal(value)}" if value else keyword


def _literal(text: str) -> str:
    """`0.62,0.4` and `768x512` as tuples, numbers and quoted texts as they are, words in quotes."""
    if re.fullmatch(r"-?[\d.]+(,-?[\d.]+)+|\d+x\d+", text):
        return f"({', '.join(re.split('[,x]', text))})"
    return text if re.fullmatch(r"-?[\d.]+(e[+-]?\d+)?|'.*'|nan|inf|[A-Z]+", text) else f"'{text}'"
