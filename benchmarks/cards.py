"""Every way that the paper's stack lies on cards from 8 to 80 GB, as a table for docs/gpu.md.

python benchmarks/cards.py

Fits, copies and bytes are arithmetic on the published sizes (chain_of_zoom.runtime.estimate); tests/gpus holds the code
to the same numbers on tiny networks, on cards that are emulated.
"""

from __future__ import annotations

from chain_of_zoom.errors import BackboneError
from chain_of_zoom.runtime.estimate import BUS, estimate_step, list_needs
from chain_of_zoom.runtime.plan import plan

CARDS = ((8,), (12,), (16,), (20,), (24,), (48,), (80,), (24, 24))
PATHS = {"zoom, with prompts": True, "zoom, without": False}


def print_rows(path: str, *, prompts: bool) -> None:
    for sizes in CARDS:
        free = {f"cuda:{number}": size * 10**9 for number, size in enumerate(sizes)}
        cards = " + ".join(map(str, sizes))
        try:
            placement = plan(free, list_needs(prompts=prompts))
        except BackboneError:
            print(f"| {path} | {cards} | does not fit | | | | |")
            continue
        step = estimate_step(placement)
        int8 = [part.part.name for part in placement.parts if part.int8]
        mode = placement.mode + (f", {' and '.join(int8)} in int8" if int8 else "")
        moves = len({part.part.stage for part in placement.parts} - placement.pinned)
        gigabytes = f"{step.copied / 1e9:.1f} GB, {step.copied / BUS:.1f} s" if step.copied else "nothing"
        passes = ", ".join(f"{count} x {placement.batch[stage]}" for stage, count in step.passes.items())
        print(f"| {path} | {cards} | {mode} | {moves} | {gigabytes} | {passes} | {step.waiting / 1e9:.0f} GB |")


if __name__ == "__main__":
    print("| path | GB | how | moves a step | copied a step, for 16 pictures | passes | waits outside |")
    print("|---|---|---|---|---|---|---|")
    for name, has_prompts in PATHS.items():
        print_rows(name, prompts=has_prompts)
