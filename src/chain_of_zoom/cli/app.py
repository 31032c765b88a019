"""The command `coz`, and the one place where errors become a line on stderr and an exit code."""

from __future__ import annotations

import errno
import io
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from chain_of_zoom.cli.flags import PanelCommand
from chain_of_zoom.cli.terminal import echo, echo_lines
from chain_of_zoom.errors import ChainOfZoomError

INTERRUPTED = 130
CLOSED_PIPE = 141  # as of a program that the signal ended
_LIBRARIES = {
    "TRANSFORMERS_VERBOSITY": "critical",
    "DIFFUSERS_VERBOSITY": "critical",
    "HF_HUB_VERBOSITY": "critical",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "PYTHONWARNINGS": "ignore",
}
_GREETING = """\
Zoom into any spot of a picture, far beyond its pixels, and know what was measured and what was invented.

  coz zoom photo.jpg --at 0.62,0.4 --zoom 64   a spot, as fractions of the picture: look at photo_64x/sheet.png
  coz explore photo.jpg                        a page to zoom by hand, anywhere; needs pip install 'chain-of-zoom[web]'
  coz upscale photo.jpg --scale 4              the whole picture

More: coz --help, coz zoom --help, coz doctor (what can run here). Names with Tab: coz --install-completion"""

# Command: (module, what of it is added, whether its flags are grouped, its line in `coz --help`).
_COMMANDS = {
    "zoom": ("zoom", "zoom", True, "Zoom into a spot of a photo, or into many."),
    "upscale": ("upscale", "upscale", True, "Enlarge a whole photo by any factor."),
    "animate": ("animate", "animate", False, "Make a smooth animation of a zoom."),
    "explore": ("explore", "explore", True, "Open a page where you zoom into a photo by hand."),
    "backbones": ("backbones", "backbones", False, "List the models that can enlarge."),
    "models": ("models", "models_app", False, "List the weights of large models, and get them."),
    "eval": ("eval", "eval_app", False, "Compare ways to zoom, by numbers and pictures."),
    "train": ("train", "train_app", False, "Teach a backbone."),
    "align": ("align", "align_app", False, "Align the prompter with a critic's preferences."),
    "prompts": ("prompts", "prompts_app", False, "Compare prompters by what they write."),
    "doctor": ("doctor", "doctor", False, "Say what this machine has, and what can run here."),
}


def make_app(names: Iterable[str] = _COMMANDS) -> typer.Typer:
    """Make the command line with some of its commands: the modules of no others are imported, which takes a while."""
    app = typer.Typer(
        name="coz",
        help=_GREETING.partition("\n")[0],
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
        callback=_root,
    )
    for name in names:
        module, attribute, is_grouped, line = _COMMANDS[name]
        command = getattr(import_module(f"chain_of_zoom.cli.{module}"), attribute)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name, short_help=line)
        else:
            app.command(name, cls=PanelCommand if is_grouped else None, short_help=line)(command)
    return app


def __getattr__(name: str) -> typer.Typer:
    """Make `app`, the whole command line, for whoever asks for it."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    app = make_app()
    globals()["app"] = app
    return app


def _version(value: bool) -> None:
    if value:
        from chain_of_zoom import __version__

        echo(f"coz {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def main() -> NoReturn:
    """Run `coz`; never returns. Exit codes: docs/reference.md."""
    if "--debug" not in sys.argv and sys.argv[1:3] != ["models", "get"]:  # a download's bar is wanted
        _silence_libraries()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files may be no UTF-8, and terminals no Unicode
    try:
        code = _run()
    except (BrokenPipeError, SystemExit) as end:  # the latter is what Typer makes of the former
        if isinstance(end, SystemExit) and not end.code:  # and of a completion that it has installed
            raise
        nothing = os.open(os.devnull, os.O_WRONLY)  # nobody to say anything to, nor to complain at Python's end
        for stream in (1, 2):
            os.dup2(nothing, stream)
        code = CLOSED_PIPE
    sys.exit(code)


def _run() -> int:
    """Run the command that was typed, and say what went wrong. Returns the exit code."""
    try:
        if len(sys.argv) == 1 and sys.stdout.isatty():
            echo_lines(_GREETING)
            return 0
        code: int = _choose_app()(sys.argv[1:] or ["--help"], standalone_mode=False) or 0
        if code == INTERRUPTED:  # what Typer makes of Ctrl-C
            _fail("interrupted; complete states are kept: run the same command again to go on", code)
        print(end="", flush=True)  # even where there is no standard output at all
    except ChainOfZoomError as error:
        code = _fail(str(error), error.exit_code)
    except typer.TyperException as error:
        code = _fail(f"{error.format_message().rstrip('.')}; type: coz --help", 2)
    except BrokenPipeError:
        raise
    except OSError as error:
        if not _has_working_folder():
            code = _fail("the current folder is not there any more; accepted: one that is; type: cd FOLDER", 4)
        elif error.errno in (errno.ENAMETOOLONG, errno.EACCES):
            code = _fail(f"{error.filename}: {error.strerror}; accepted: what may be opened; name another", 4)
        elif error.filename is not None or error.errno not in (errno.ENOSPC, errno.EFBIG, errno.EIO):
            code = _unexpected(error)
        else:  # files have errors of their own: this is what was printed
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python writes what is left at its end, and would complain
            code = _fail(f"cannot write to standard output ({error.strerror}); check where it goes", 4)
    except UnicodeEncodeError:
        code = _fail("a name or text is not UTF-8; accepted: any that is; rename the file", 3)
    except MemoryError:
        code = _fail("not enough memory; accepted: less at a time; free memory, or reduce the picture first", 6)
    except Exception as error:
        code = _unexpected(error)
    return code


def _choose_app() -> typer.Typer:
    """Return the command line with what the typed words need: one command, none, or all of them."""
    word = next(iter(sys.argv[1:]), "--help")
    if word in _COMMANDS:
        return make_app([word])
    return make_app([] if sys.argv[1:] == ["--version"] else _COMMANDS)


def _has_working_folder() -> bool:
    try:
        Path.cwd()
    except FileNotFoundError:
        return False
    return True


def _silence_libraries() -> None:
    """Keep the lines and bars of libraries, in this process and those it starts, off the terminal.

    Variables and filters of warnings that the user set weigh more.
    """
    for name, value in _LIBRARIES.items():
        os.environ.setdefault(name, value)
    warnings.filterwarnings("ignore", append=True)
    logging.getLogger().addHandler(logging.NullHandler())  # else Python prints what a library without a handler logs


def _unexpected(error: Exception) -> int:
    return _fail(f"unexpected {type(error).__name__}: {error}; add --debug and report what it prints", 1)


def _fail(message: str, code: int) -> int:
    if "--debug" in sys.argv:
        echo_lines(traceback.format_exc(), err=True)
    echo("error: " + " ".join(message.split()), err=True)
    return code
