"""Batches from Python.

from chain_of_zoom import zoom_many
for outcome in zoom_many(["photos", "rose.jpg"], at=[(0.3, 0.5), (0.7, 0.5)], magnification=64, out="zooms"):
    print(outcome.status, outcome.task.photo, outcome.folder, outcome.error or outcome.record.states[-1].file)
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack, cast

from chain_of_zoom.api import ChainOfZoom, choose_models
from chain_of_zoom.backbones.base import Backbone
from chain_of_zoom.batch.report import Outcome
from chain_of_zoom.batch.run import Batch
from chain_of_zoom.batch.spots import read_list
from chain_of_zoom.batch.tasks import Task, assign_folder_names, check_folder, plan_tasks
from chain_of_zoom.chain.request import ZoomRequest, ZoomSettings, format_spot, make_request, spell_settings
from chain_of_zoom.chain.run import Layout
from chain_of_zoom.errors import UsageError
from chain_of_zoom.imaging.folder import is_folder
from chain_of_zoom.parsing import plain
from chain_of_zoom.prompters.base import Prompter
from chain_of_zoom.wording import python_words, reword

Spot = tuple[float, float] | str


@spell_settings
@python_words()
def zoom_many(
    photos: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] = (),
    *,
    out: str | os.PathLike[str],
    at: Spot | Sequence[Spot] | None = None,
    listed: str | os.PathLike[str] | None = None,
    recursive: bool = False,
    backbone: str | Backbone | None = None,
    prompter: str | Prompter | None = None,
    backbone_options: Mapping[str, Any] | None = None,
    prompter_options: Mapping[str, Any] | None = None,
    photo_options: Mapping[str, Any] | None = None,
    layout: Layout = "default",
    force: bool = False,
    skip_done: bool = False,
    animate: bool = False,
    together: int | None = None,
    **settings: Unpack[ZoomSettings],
) -> Iterator[Outcome]:
    """Zoom into many photos with one backbone, loaded once; every run is resumed, or kept when it is complete.

    photos: files and folders (of pictures by extension; `recursive` for folders inside). at: one spot as for `zoom`,
    or a list of them, for each photo. listed: a CSV file of further zooms (columns photo, at, zoom, box, find, size,
    prompt, seed, name). out: receives a folder for each zoom, summary.json, index.html and thumbnails. skip_done: keep
    complete runs of unchanged photos as they are, unchecked. together: photos that advance together, scale by scale,
    so that prompter and backbone get batches; by default one on a CPU and 16 on a GPU. settings and the rest: as for
    `zoom`.
    Yields an Outcome for each zoom; what is wrong with one photo is an outcome with its error. Raises, at once,
    UsageError and MissingError, and while running OutputError when nothing can be written.
    """
    request = make_request(**settings)
    out, file = Path(out), Path(listed) if listed else None
    tasks = plan_batch(_paths(photos), file, _spots(plain(at)), request, out, recursive=recursive)
    words = "".join(task.request.prompt for task in tasks)
    chain = ChainOfZoom(
        *choose_models(backbone, prompter or request.usual_prompter, words),
        backbone_options=backbone_options,
        prompter_options=prompter_options,
        photo_options=photo_options,
    )
    batch = Batch(
        chain,
        tasks,
        out,
        layout=layout,
        force=force,
        skip_done=skip_done,
        animate=animate,
        together=together,
    )
    return _run(batch)


def _run(batch: Batch) -> Iterator[Outcome]:
    with python_words():
        for outcome in batch.run():
            reword(outcome.error)
            yield outcome


def _paths(photos: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[Path]:
    try:
        return [Path(path) for path in ([photos] if isinstance(photos, str | os.PathLike) else photos)]
    except TypeError:
        raise UsageError(
            "photos of a batch; accepted: names of files and folders; give a picture in memory to zoom instead"
        ) from None


def plan_batch(
    photos: Sequence[Path], listed: Path | None, spots: Sequence[str], base: ZoomRequest, out: Path, *, recursive: bool
) -> list[Task]:
    """Plan the zooms of the photos and then those of the list, with unique folder names. Raises UsageError."""
    if not photos and not listed:
        raise UsageError("no photo; accepted: photos, folders or --list CSV; for example coz zoom photo.jpg --zoom 64")
    tasks = plan_tasks(photos, spots, base, out, recursive=recursive)
    if listed:
        tasks += read_list(listed, spots, base, out, recursive=recursive)
    if all(is_folder(task.photo) for task in tasks):  # nothing to begin
        check_folder(tasks[0].photo)
    return assign_folder_names(tasks)


def _spots(at: Spot | Sequence[Spot] | None) -> list[str]:
    if at is None:
        return []
    is_list = not isinstance(at, str) and isinstance(at, Sequence)
    is_one_spot = not is_list or all(isinstance(x, int | float) for x in at)
    spots = [cast("Spot", at)] if is_one_spot else cast("Sequence[Spot]", at)
    return [text for text in map(format_spot, spots) if text is not None]
