"""Run all benchmarks and write docs/benchmarks.md: `python -m benchmarks.run`, or `make bench`."""

from __future__ import annotations

import argparse
import datetime
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.automatic import automatic_rows
from benchmarks.batch import batch_rows, throughput_row
from benchmarks.decode import decode_rows
from benchmarks.detecting import detector_row
from benchmarks.embedded import embedded_rows
from benchmarks.equivalence import equivalence_row
from benchmarks.full_size import full_size_rows, shallow
from benchmarks.gui import gui_rows
from benchmarks.loading import loading_rows
from benchmarks.long_series import long_series_rows
from benchmarks.measure import describe_machine
from benchmarks.profile import profile_rows
from benchmarks.propagation import propagation_rows
from benchmarks.propagation_time import propagation_time_rows, tracker_row
from benchmarks.report import Line, Section, write_report
from benchmarks.scaling import scaling_rows
from benchmarks.slide import slide_rows, store_row
from benchmarks.startup import startup_rows
from benchmarks.tracking import tracking_rows
from sam3 import Predictor, load_predictor
from sam3.config import ModelConfig, get_preset
from sam3.model_builder import build_click_model

REPORT = Path(__file__).parent.parent / "docs" / "benchmarks.md"


def main() -> None:
    """Measure, print each row as it comes, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="tiny", help="model of the first rows")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--output", type=Path, default=REPORT)
    parser.add_argument("--quick", action="store_true", help="leave the full-size model out")
    parser.add_argument(
        "--shallow", action="store_true", help="the full-size model with 2 blocks only: a trial"
    )
    parser.add_argument("--data", type=Path, help="npz of real images with labels")
    parser.add_argument("--stacks", type=Path, help="folder with npz of real stacks with labels")
    parser.add_argument("--every", type=int, default=1, help="take every n-th of these images")
    arguments = parser.parse_args()
    write_report(
        arguments.output, _sections(arguments), describe_machine(), str(datetime.date.today())
    )
    print(f"written to {arguments.output}")


def _sections(arguments: argparse.Namespace) -> Iterator[Section]:
    """Name what is measured, in this order; a further benchmark is a line in a section's rows."""
    # Fresh interpreters first, while nothing large is in memory.
    yield Section("Window", _window(arguments))
    predictor = load_predictor(arguments.model, arguments.device)
    yield Section("Comparison", _comparison(arguments, predictor))
    if not arguments.quick:
        yield Section("Where the time goes", profile_rows(_full_size(arguments)))
    yield Section("Scaling", scaling_rows(predictor))


def _window(arguments: argparse.Namespace) -> Iterator[Line]:
    yield from startup_rows(repeats=5)
    if sys.platform.startswith("linux"):  # elsewhere there is no virtual screen
        yield from gui_rows(model=_encoding_model(arguments))
        yield from slide_rows()


def _comparison(arguments: argparse.Namespace, predictor: Predictor) -> Iterator[Line]:
    yield from embedded_rows(predictor, repeats=arguments.repeats)
    yield equivalence_row(predictor, planes=2 if arguments.quick else 10)
    yield from batch_rows(predictor)
    yield from automatic_rows(predictor, arguments.data, every=arguments.every)
    yield from propagation_rows(predictor, arguments.stacks)
    yield from tracking_rows(predictor, arguments.stacks)
    yield from long_series_rows(predictor)
    yield from propagation_time_rows(predictor)
    if not arguments.quick:
        config = _full_size(arguments)
        yield from full_size_rows(config, repeats=3, device=str(predictor.device))
        yield tracker_row(device=str(predictor.device))
        yield from decode_rows(repeats=arguments.repeats, device=str(predictor.device))
        yield detector_row(config, repeats=3)
        yield store_row(config, device=str(predictor.device))
        full = Predictor(build_click_model(config).eval(), device=predictor.device)
        yield throughput_row(full, planes=3, repeats=2, warm_up=0)
        del full
        yield from loading_rows(config)


def _full_size(arguments: argparse.Namespace) -> ModelConfig:
    return shallow() if arguments.shallow else get_preset("sam3")


def _encoding_model(arguments: argparse.Namespace) -> str:
    if arguments.quick:
        return "tiny"
    return "sam3-shallow" if arguments.shallow else "sam3"


if __name__ == "__main__":
    main()
