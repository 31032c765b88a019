"""Details of backbones, prompters and photos: flags, `--set`, a TOML file and a preset, the first weighing most."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from chain_of_zoom import plugins
from chain_of_zoom.api import DEFAULT_BACKBONE, ChainOfZoom, choose_models
from chain_of_zoom.errors import UsageError, suggest
from chain_of_zoom.settings import read_config, read_sets
from chain_of_zoom.weights.presets import find_preset, resolve

if TYPE_CHECKING:
    from chain_of_zoom.cluster.joining import Crew
    from chain_of_zoom.prompters.critic import Critic

TABLES = {"backbone": plugins.BACKBONES, "prompter": plugins.PROMPTERS}
KINDS = (*TABLES, "photo")
Options = dict[str, dict[str, Any]]


def read_loader_config(path: Path | None) -> Options:
    """Read the tables [backbone], [prompter] and [photo] of a TOML file. Raises UsageError."""
    tables = read_config(path)
    for name, table in tables.items():
        if name not in KINDS or not isinstance(table, dict):
            raise UsageError(
                f"--config {path} has {name!r}; accepted: tables [backbone], [prompter], [photo]; remove it"
            )
    return {kind: dict(tables.get(kind, {})) for kind in KINDS}


def read_loader_sets(texts: Sequence[str], kinds: Sequence[str] = KINDS) -> Options:
    """Read `backbone.posterior=mode` and the like. Raises UsageError."""
    return read_sets(texts, ", ".join(f"{kind}.key=value" for kind in kinds), kinds)


def combine(backbone: str, prompter: str, *layers: Mapping[str, Mapping[str, Any]]) -> Options:
    """Lay layers on top of one another, the last one winning, and check them against what backbone and prompter take.

    Raises UsageError for an option that neither takes.
    """
    names = {"backbone": backbone, "prompter": prompter}
    combined: Options = {}
    for kind in TABLES:
        combined[kind] = {key: value for layer in layers for key, value in layer.get(kind, {}).items()}
        accepted_keys = accepted(kind, names[kind])
        for key in combined[kind]:
            if key not in accepted_keys:
                hint = f"accepted: {', '.join(accepted_keys)}" if accepted_keys else "it takes none"
                advice = suggest(key, accepted_keys, "see coz zoom --help")
                raise UsageError(f"{kind} {names[kind]} takes no option {key}; {hint}; {advice}")
    return combined


def accepted(kind: str, name: str) -> list[str]:
    """List the options that a backbone or prompter takes."""
    factory, fixed = plugins.factory(kind, TABLES[kind], name)
    parameters = inspect.signature(factory).parameters
    return [
        key for key, p in parameters.items() if key not in fixed and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]


def shared(backbone: str, prompter: str, /, **values: Any) -> Options:
    """Give flags for both (device, dtype, memory) to those that take them. Raises UsageError if none does."""
    options: Options = {"backbone": {}, "prompter": {}}
    for key, value in values.items():
        if value is None:
            continue
        takers = [
            kind for kind, name in (("backbone", backbone), ("prompter", prompter)) if key in accepted(kind, name)
        ]
        if not takers:
            raise UsageError(f"--{key} means nothing to {backbone} and {prompter}; leave it out")
        for kind in takers:
            options[kind][key] = value
    return options


def loader_options(
    names: tuple[str, str],
    preset: str | None,
    config: Options,
    sets: Options,
    flags: Options,
) -> Options:
    """Collect the options of the loaders: preset, then file, then --set, then flags (see `flags.LOADERS`)."""
    given_options = {"backbone": {**config["backbone"], **sets["backbone"], **flags["backbone"]}}
    given_options["prompter"] = {**config["prompter"], **sets["prompter"], **flags["prompter"]}
    layers: list[Options] = [given_options, shared(*names, **flags["both"])]
    if preset:
        chosen = find_preset(preset)
        is_presets = {"backbone": names[0] == chosen.backbone, "prompter": names[1] == chosen.prompter}
        overridden = {*given_options["backbone"], *given_options["prompter"]}
        lora = given_options["backbone"].get("lora")
        if lora and Path(str(lora)).is_dir():  # of `coz train`: it brings its own encoder
            overridden.add("vae_encoder")
        overridden |= set() if is_presets["backbone"] else set(chosen.backbone_items)
        overridden |= set() if is_presets["prompter"] else set(chosen.prompter_items)
        of_preset = dict(zip(("backbone", "prompter"), resolve(preset, overridden), strict=True))
        layers.insert(0, {kind: of_preset[kind] if is_presets[kind] else {} for kind in of_preset})
    return combine(*names, *layers)


def make_chain(backbone: str | None, prompter: str | None, preset: str | None, **choices: Any) -> ChainOfZoom:
    """Make the chain that a command works with from its options, as `plan_chain` says. Raises UsageError."""
    return plan_chain(backbone, prompter, preset, **choices)()


def plan_chain(
    backbone: str | None,
    prompter: str | None,
    preset: str | None,
    *,
    worded: bool,
    config: Path | None,
    sets: list[str] | None,
    flags: Options,
    keep_metadata: bool = False,
    usual: str = DEFAULT_BACKBONE,
) -> partial[ChainOfZoom]:
    """Return what makes the chain that a command works with, here or, pickled, elsewhere. Raises UsageError.

    worded: whether the user gave words of their own. usual: the backbone where none is named and there are no words.
    """
    chosen = find_preset(preset) if preset else None
    if chosen:
        names = backbone or chosen.backbone, prompter or chosen.prompter
    else:
        written = "text" if worded else None
        names = cast("tuple[str, str]", choose_models(backbone, prompter or written, usual=usual))
    if names[1] == "text" and not worded:
        raise UsageError("--prompter text needs a text; accepted: --prompt TEXT; for example --prompt 'autumn leaf'")
    in_file, in_sets = read_loader_config(config), read_loader_sets(sets or [])
    options = loader_options(names, preset, in_file, in_sets, flags)
    return partial(
        ChainOfZoom,
        *names,
        backbone_options=options["backbone"],
        prompter_options=options["prompter"],
        photo_options={**in_file["photo"], **in_sets["photo"], **({"metadata": "keep"} if keep_metadata else {})},
    )


def choose_crew(on: str | None, workers: int | None, cpus: int, gpus: float | None) -> Crew | None:
    """Read the options about a cluster; None where the work stays here. Raises UsageError."""
    if on:
        from chain_of_zoom.cluster.joining import Crew

        return Crew.parse(on, workers, cpus, gpus)
    if workers is not None or gpus is not None or cpus != 1:
        raise UsageError(
            "--workers, --worker-cpus and --worker-gpus are about a cluster; add --on ray, or leave them out"
        )
    return None


def split_role(sets: Sequence[str], role: str) -> tuple[list[str], list[str]]:
    """Return those of the texts of --set that begin with `role` and a dot, and the others."""
    of_role = [text for text in sets if text.startswith(f"{role}.")]
    return of_role, [text for text in sets if text not in of_role]


def choose_critic(
    role: str, name: str | None, sets: Sequence[str], flags: Mapping[str, Any] | None = None
) -> Critic | None:
    """Return the critic of an option called `role`, with its details; None without one.

    flags: details that those of `sets` replace. Raises UsageError and MissingError.
    """
    from chain_of_zoom.prompters.critic import make_critic

    takes = [key for key in inspect.signature(make_critic).parameters if key not in ("critic", "role", "cache", "say")]
    details = read_loader_sets(sets, [role])[role]
    for key in details:
        if name is None or key not in takes:
            raise UsageError(f"--set {role}.{key}; accepted: --{role} NAME, and of it {', '.join(takes)}")
    if name is None:
        return None
    return make_critic(name, **{"role": role, **(flags or {}), **details})
