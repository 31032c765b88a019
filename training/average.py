"""Average networks that were trained from one start: python training/average.py a.param start.param=0.2 -o small

Writes small.param and small.bin. NAME=WEIGHT gives a network another share than 1.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from chain_of_zoom.networks.rrdb.network import from_ncnn
from chain_of_zoom.networks.rrdb.span import SpanNet, write_ncnn


def main() -> None:
    """Average and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="+", help="FILE.param or FILE.param=WEIGHT")
    parser.add_argument("-o", "--out", type=Path, required=True)
    options = parser.parse_args()
    total, average = 0.0, None
    for text in options.networks:
        name, _, share = text.partition("=")
        weight = float(share or 1)
        network = from_ncnn(Path(name), Path(name).with_suffix(".bin"))
        assert isinstance(network, SpanNet)
        total += weight
        average = average or network
        with torch.no_grad():
            for mean, value in zip(average.parameters(), network.parameters(), strict=True):
                mean.copy_(value if average is network else mean.lerp(value, weight / total))
    assert average is not None
    write_ncnn(average, Path(f"{options.out}.param"))


if __name__ == "__main__":
    main()
