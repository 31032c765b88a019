"""The settings of a training run of the small network."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from chain_of_zoom.distillation.settings import (
    Amount,
    Count,
    OptimizerSettings,
    PictureSettings,
    Positive,
    RunSettings,
    TrainingSettings,
)
from chain_of_zoom.errors import UsageError
from chain_of_zoom.networks.rrdb.span_layers import FACTOR, WIDTH

LONGEST = 3
"""Steps of the longest chain that is walked in training."""


class SmallDataSettings(PictureSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Names the pictures to learn from, and how the chain walks through them."""

    chain: Annotated[tuple[Annotated[int, Meta(ge=1, le=LONGEST)], ...], Meta(min_length=1)] = (1, 1, 1, 2, 1, 1, 1, 3)
    """Steps that the chain takes in the training steps, in turn: 1 is one enlargement, 2 enlarges the result again."""
    window: Annotated[int, Meta(ge=4)] = 48
    """Side of the largest window that the network enlarges, in pixels."""

    def __post_init__(self) -> None:
        step = FACTOR ** max(self.chain)
        if self.size % step or self.size < 2 * step:
            accepted = f"multiples of {step} from {2 * step}, for chains of {max(self.chain)} steps"
            raise UsageError(f"size {self.size}; accepted: {accepted}; for example --size 512")


class SmallModelSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Describes the network and its teacher."""

    network: Literal["small"] = "small"
    """The network that is trained."""
    width: Annotated[int, Meta(ge=4, le=WIDTH)] = WIDTH
    """Channels of a network that begins at random; --init brings its own."""
    teacher: str | None = None
    """A network to stay close to where pictures were reduced by bicubic: span, span-official, or a file."""


class SmallLossSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Weighs the losses (see distillation/small/losses.py)."""

    parent: Amount = 0.1
    """Weight of the consistency with the parent: each result, reduced, is what it was made from."""
    teacher: Amount = 0.3
    """Weight of the closeness to the teacher."""


class SmallOptimizerSettings(OptimizerSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sets AdamW and the average that is exported."""

    lr: Positive = 2e-4
    """Learning rate."""
    weight_decay: Amount = 0.0
    """Weight decay."""
    clip: Positive = 0.5
    """Norm to which gradients are clipped."""
    batch: Count = 8
    """Pictures that a device computes at once."""
    accumulate: Count = 1
    """Batches of every device in one step."""
    warmup: Count = 50
    """Steps in which the learning rate rises to its value."""
    average: Annotated[float, Meta(ge=0, lt=1)] = 0.999
    """Share of the average of earlier weights that each step keeps; the average is what is exported."""


class SmallRunSettings(RunSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sets the length, the files and the device of a run."""

    save: Count = 100
    """Steps between two checkpoints."""
    sheet: Count = 250
    """Steps between two sheets of enlarged pictures."""


class SmallSettings(TrainingSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Holds all settings of a training run of the small network."""

    data: SmallDataSettings
    """Table of the training pictures."""
    model: SmallModelSettings = SmallModelSettings()
    """Table of the network."""
    losses: SmallLossSettings = SmallLossSettings()
    """Table of the losses."""
    optimizer: SmallOptimizerSettings = SmallOptimizerSettings()
    """Table of the optimizer."""
    run: SmallRunSettings = SmallRunSettings()
    """Table of the run."""

    @property
    def steps(self) -> int:
        """Steps of the optimizer in all."""
        return self.run.steps or 2000
