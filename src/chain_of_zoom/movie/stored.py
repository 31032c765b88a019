"""Runs that lie in folders, read back, and their animations made without computing a state again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import msgspec

from chain_of_zoom.chain.folder import ANIMATION, RECORD
from chain_of_zoom.chain.record import Record
from chain_of_zoom.chain.state import ScaleState
from chain_of_zoom.errors import BadInputError
from chain_of_zoom.files import explain_write_errors, write_atomic
from chain_of_zoom.imaging.folder import is_folder
from chain_of_zoom.imaging.images import profile_of_png
from chain_of_zoom.movie.animation import MAX_SIDE, Animation, Track, check_format, encode
from chain_of_zoom.runs.lock import lock_folder


def read_run(folder: Path) -> tuple[Record, tuple[ScaleState, ...]]:
    """Read record and states of a run, which may be incomplete. Raises BadInputError for files not as recorded."""
    hint = "accepted: the folder of a run of coz zoom"
    try:
        record = Record.from_json((folder / RECORD).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise BadInputError(f"{folder} holds no {RECORD}; {hint}; check the path") from None
    except (OSError, msgspec.DecodeError) as error:
        raise BadInputError(f"{folder / RECORD} cannot be read ({error}); {hint}; check the path") from error
    states = []
    for entry in record.states:
        if (state := entry.read_state(folder)) is None:
            raise BadInputError(
                f"{folder / Path(entry.file).name} is not there or not as its record says; {hint}, whole; "
                "repeat the command that made it, which mends it"
            )
        states.append(state)
    return record, tuple(states)


def animate_states(
    states: Sequence[ScaleState],
    out: Path,
    seconds: float | None = None,
    track: Track = iter,
    about: str = "",
    profile: bytes | None = None,
) -> Path:
    """Write the animation of some states to a file. Raises UsageError, MissingError and OutputError."""
    suffix = check_format(out)
    animation = Animation(states, seconds, MAX_SIDE[suffix])
    write_atomic(out, encode(animation, track(animation), suffix, about, profile))
    return out


def animate_folder(folder: Path, out: Path | None = None, seconds: float | None = None, track: Track = iter) -> Path:
    """Write the animation of a run; where it lies in the folder itself (as by default), the record lists it."""
    out = out or folder / ANIMATION
    check_format(out)
    inside = out.resolve().parent == folder.resolve()
    with _locked(folder) if inside else nullcontext():
        record, states = read_run(folder)
        about = f"into {Path(record.input.path).name} with {record.backbone.name}"
        profile = profile_of_png((folder / Path(record.states[0].file).name).read_bytes()) if states else None
        animate_states(states, out, seconds, track, about, profile)
        if inside:
            write_atomic(folder / RECORD, msgspec.structs.replace(record, animation=out.name).to_json())
    return out


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other processes from writing to the folder meanwhile."""
    if not is_folder(folder):
        raise BadInputError(f"{folder}: no such folder; accepted: the folder of a run of coz zoom; check the path")
    with explain_write_errors(folder):
        release = lock_folder(explain_write_errors, folder)
    try:
        yield
    finally:
        release()
