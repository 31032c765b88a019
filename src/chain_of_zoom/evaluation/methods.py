"""Read methods written in one line: what enlarges, how it recurs, and who writes the prompts.

    [LABEL=]BACKBONE[:chain|:direct][:SHARE][:faithful][+PROMPTER[@multi|@single]]

`realsr`, `realsr:direct`, `span:0.5:faithful` (as with `--detail 0.5 --faithful`), `osediff-sd3+null`,
`osediff-sd3:direct+dape`, `osediff-sd3+vlm@single`. Prompters are those of `coz zoom`, and two more: `vlm-adapter` is
`vlm` with the paper's aligned adapter, and `wrong` sends the words of another picture, so that prompters can be
compared with one that never looks. A label sets a method apart from the same one with other options, and gives a file
of weights (`mine=net.safetensors`) a short name.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chain_of_zoom.api import ChainOfZoom, load_backbone, load_prompter
from chain_of_zoom.backbones.base import Backbone
from chain_of_zoom.chain.request import Mode
from chain_of_zoom.chain.restraint import Restraint
from chain_of_zoom.errors import MissingError, UsageError, suggest
from chain_of_zoom.parsing import parse_number
from chain_of_zoom.plugins import BACKBONES, MODEL_FILES, PROMPTERS, names
from chain_of_zoom.prompters.base import Prompter
from chain_of_zoom.truth.trust import list_backbones
from chain_of_zoom.weights import presets

Options = Mapping[str, Mapping[str, Any]]

WRONG, RIGHT = "wrong", "right"
WORDS = ("chain", "direct", "faithful")
EXAMPLE = "for example --methods realsr,realsr:direct,osediff-sd3+vlm@multi"

# Texts of other pictures; nothing of it is in a photograph of nature.
WRONG_TEXTS = (
    "fire engine, red paint, chrome, hose",
    "printed circuit board, solder, copper, chips",
    "pizza, melted cheese, olives, crust",
    "brick wall, mortar, graffiti",
    "knitted sweater, wool, stitches",
    "newspaper page, columns of text, ink",
    "circular saw blade, steel teeth",
    "piano keys, ivory, black lacquer",
)


@dataclass(frozen=True, kw_only=True)
class Method:
    """One way to zoom."""

    name: str
    """Its label, or the text it was written as."""
    backbone: str
    """The name of what enlarges, or a file of weights."""
    mode: Mode = "chain"
    """How it recurs."""
    detail: float = 1.0
    """Share of what the backbone adds to plain enlargement."""
    faithful: bool = False
    """Whether every state gives its parent again when it is reduced."""
    writer: str | None = None
    """Who writes the prompts, as written; None when nobody was named."""
    multi_scale: bool | None = None
    """Whether the prompter sees two scales; None leaves it at its own default."""

    @property
    def prompter(self) -> str:
        """The name of its prompter among those of `coz zoom`."""
        return {None: "null", WRONG: "null", RIGHT: "null", presets.ALIGNED: "vlm"}.get(self.writer, str(self.writer))

    @property
    def resamples(self) -> bool:
        """Whether it invents nothing."""
        return load_backbone(self.backbone).info.resample is not None

    @property
    def has_trust(self) -> bool:
        """Whether its states have a map of their trust, at least those without words."""
        info = load_backbone(self.backbone).info.acting_as(uses_words=False)
        is_restrained = self.mode == "direct" or self.faithful or self.detail < 1
        return info.name in list_backbones() and not is_restrained

    @property
    def folder(self) -> str:
        """A name for its folder: characters that are not safe in file names and URLs become underscores."""
        return re.sub(r"[^A-Za-z0-9.-]", "_", self.name)

    def user_text(self, picture: str) -> str:
        """Return the user's own text for a picture: the words of another one for `wrong`, else nothing.

        The hash of the picture's name chooses the words, so that they are the same on every machine.
        """
        if self.writer != WRONG:
            return ""
        return WRONG_TEXTS[hashlib.sha256(picture.encode()).digest()[0] % len(WRONG_TEXTS)]


def parse_methods(text: str, *, more_writers: Sequence[str] = ()) -> list[Method]:
    """Read a list with commas. more_writers: see `parse_method`. Raises UsageError, also for a name given twice."""
    parts = [part.strip() for part in text.split(",")]
    methods = [parse_method(part, more_writers=more_writers) for part in parts if part]
    if not methods:
        raise UsageError(f"--methods is empty; accepted: BACKBONE[:direct][+PROMPTER] and more with commas; {EXAMPLE}")
    folders: dict[str, str] = {}
    for method in methods:
        if method.folder in folders:
            raise UsageError(
                f"methods {folders[method.folder]!r} and {method.name!r} share a name; accepted: each once; "
                f"give one a label: --methods other={method.name}"
            )
        folders[method.folder] = method.name
    return methods


def parse_method(text: str, *, more_writers: Sequence[str] = ()) -> Method:
    """Read one method. more_writers: accepted in the place of prompters. Raises UsageError saying what is wrong."""
    label, equals, description = text.rpartition("=")
    if equals and not re.fullmatch(r"[\w.-]+", label):
        raise UsageError(f"label {label!r} of a method; accepted: letters, digits, - _ and .; for example mine=realsr")
    chain, plus, writer = description.partition("+")
    backbone, *words = chain.split(":")
    writer, at, scales = writer.partition("@")
    if not backbone.lower().endswith(MODEL_FILES):
        _check_name("backbone", backbone, names("backbone", BACKBONES), text)
    restraint = {word: _parse_share(word, text) for word in words if word not in WORDS}
    if len(set(words)) < len(words) or len(restraint) > 1 or {"chain", "direct"} <= {*words}:
        raise UsageError(f"method {text!r}: accepted after {backbone}: each thing once; {EXAMPLE}")
    if plus:
        _check_name("prompter", writer, (*names("prompter", PROMPTERS), presets.ALIGNED, WRONG, *more_writers), text)
        if writer != "null" and not load_backbone(backbone).info.text_aware:
            raise UsageError(
                f"method {text!r}: {backbone} reads no prompts; accepted: {backbone} alone; leave +{writer} out"
            )
    if at:
        _check_name("view", scales, ("multi", "single"), text)
        if writer not in ("vlm", presets.ALIGNED, "remote"):
            raise UsageError(
                f"method {text!r}: {writer} looks at one picture; accepted: @multi or @single after vlm, "
                f"{presets.ALIGNED} and remote; leave @{scales} out"
            )
    return Method(
        name=label or description,
        backbone=backbone,
        mode="direct" if "direct" in words else "chain",
        detail=next(iter(restraint.values()), 1.0),
        faithful="faithful" in words,
        writer=writer or None,
        multi_scale=scales == "multi" if at else None,
    )


def _parse_share(word: str, text: str) -> float:
    try:
        return Restraint(detail=float(parse_number(word))).detail
    except (ValueError, UsageError):
        hint = suggest(word, WORDS, EXAMPLE)
        raise UsageError(
            f"method {text!r}: {word!r}; accepted: {', '.join(WORDS)}, or a share of the detail from 0 to 1; {hint}"
        ) from None


def _check_name(kind: str, name: str, accepted: Sequence[str], text: str) -> None:
    if name not in accepted:
        hint = suggest(name, accepted, EXAMPLE)
        raise UsageError(f"method {text!r}: unknown {kind} {name!r}; accepted: {', '.join(accepted)}; {hint}")


def build_chains(methods: Iterable[Method], options: Mapping[str, Options]) -> dict[str, ChainOfZoom]:
    """Return the methods ready to run, by name; those with the same backbone or prompter share it.

    No weights are read. options: by the name of the method, loader details of "backbone" and "prompter". Raises
    UsageError for details that make no sense, and MissingError when an extra or weights are not here.
    """
    backbones: dict[str, Backbone] = {}
    prompters: dict[str, Prompter] = {}
    chains: dict[str, ChainOfZoom] = {}
    for method in methods:
        backbone_options, prompter_options = _add_weights(method, options.get(method.name, {}))
        backbone_key = f"{method.backbone} {sorted(backbone_options.items())}"
        prompter_key = f"{method.prompter} {sorted(prompter_options.items())}"
        if backbone_key not in backbones:
            backbone = load_backbone(method.backbone, **backbone_options)
            if command := backbone.missing():
                raise MissingError(f"method {method.name}: {method.backbone} is not installed; type: {command}")
            backbones[backbone_key] = backbone
        if prompter_key not in prompters:
            prompters[prompter_key] = load_prompter(method.prompter, **prompter_options)
        chains[method.name] = ChainOfZoom(
            backbones[backbone_key],
            prompters[prompter_key],
            backbone_options=backbone_options,
            prompter_options=prompter_options,
        )
    return chains


def build_chain(method: Method, options: Options) -> ChainOfZoom:
    """Return one method ready to run, as `build_chains` does."""
    return build_chains([method], {method.name: options})[method.name]


def _add_weights(method: Method, options: Options) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the options of backbone and prompter, with the weights that the presets find where none are named."""
    backbone_options, prompter_options = (dict(options.get(kind, {})) for kind in ("backbone", "prompter"))
    if method.multi_scale is not None:
        prompter_options.setdefault("multi_scale", method.multi_scale)
    if method.backbone != "osediff-sd3":
        preset_options = presets.prompter_options(method.writer or "", set(prompter_options))
        return backbone_options, preset_options | prompter_options
    preset = presets.PROMPTERS.get(method.writer or "", "paper-null")
    preset_backbone, preset_prompter = presets.resolve(preset, {*backbone_options, *prompter_options})[:2]
    if method.writer in presets.PROMPTERS:
        prompter_options = preset_prompter | prompter_options
    return preset_backbone | backbone_options, prompter_options
