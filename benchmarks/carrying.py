"""How well objects are carried through synthetic volumes, by what is shown of them to the model.

`python -m benchmarks.carrying` prints the table of docs/batch.md.
"""

from __future__ import annotations

import argparse

from benchmarks.batch import follow_kind
from benchmarks.volumes import KINDS
from napari_sam3.batch import CarryRules
from napari_sam3.inference.tracking.carry import Part
from sam3 import load_predictor

SHOWN: tuple[tuple[Part, ...], ...] = (("mask",), ("point", "mask"), ("box", "point", "mask"))


def main(argv: list[str] | None = None) -> None:
    """Measure and print a row for each choice."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--kinds", nargs="+", choices=KINDS)
    parser.add_argument("--seeds", type=int, default=2, help="volumes of each kind")
    arguments = parser.parse_args(argv)
    predictor = load_predictor(arguments.model, device="cpu")
    kinds = arguments.kinds or KINDS
    print("| Shown |", " | ".join(kinds), "| taken for another |")
    print("|---|" + "---|" * (len(kinds) + 1))
    for parts in SHOWN:
        rules = CarryRules(parts=parts)
        found = [follow_kind(kind, predictor, arguments.seeds, rules) for kind in kinds]
        cells = " | ".join(f"{one.ious.mean():.3f}" for one in found)
        switches = sum(one.switches for one in found)
        print(f"| {', '.join(parts)} | {cells} | {switches} |", flush=True)


if __name__ == "__main__":
    main()
