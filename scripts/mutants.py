"""Change the code a little, run its tests, and count the changes that they notice.

`cosmic-ray` changes an operator, a number or a condition at a time, in a copy of the project. Run
with the names of modules, or none for all of them; it takes hours.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
#: Share of the changes that have to be noticed.
GOAL = 0.85
TIMEOUT_S = 120.0
PLUGIN = "tests/napari_sam3"
#: Each module, and the tests that have to notice.
MODULES = {
    "napari_sam3/prompts": [f"{PLUGIN}/test_prompts.py", f"{PLUGIN}/test_batch_prompts.py"],
    "napari_sam3/fields": [f"{PLUGIN}/test_fields.py", f"{PLUGIN}/test_fields_properties.py"],
    "sam3/prompts": ["tests/sam3/test_predictor.py"],
    "sam3/transforms": ["tests/sam3/test_predictor.py", "tests/sam3/test_golden.py"],
    "sam3/checkpoint": ["tests/sam3/test_checkpoint.py", "tests/sam3/test_features.py"],
    "napari_sam3/session": [f"{PLUGIN}/test_session.py", f"{PLUGIN}/test_fault_session.py"],
    "napari_sam3/history": [f"{PLUGIN}/test_session.py", f"{PLUGIN}/test_fault_session.py"],
    "napari_sam3/ledger": [f"{PLUGIN}/test_session.py", f"{PLUGIN}/test_fault_session.py"],
    "napari_sam3/curating": [
        *(f"{PLUGIN}/test_{name}.py" for name in ("curating", "edits", "fault_session"))
    ],
}
CONFIG = """
[cosmic-ray]
module-path = "src/{module}.py"
timeout = {timeout}
excluded-modules = []
test-command = "{python} -m pytest -x -q -p no:cacheprovider {tests}"

[cosmic-ray.distributor]
name = "local"
"""


def mutate(module: str, work: Path) -> tuple[int, int, list[str]]:
    """Return how many changes were noticed, how many were made, and those that were not."""
    from cosmic_ray.work_db import WorkDB, use_db
    from cosmic_ray.work_item import TestOutcome

    config, database = work / "mutants.toml", work / f"{module.replace('/', '_')}.sqlite"
    config.write_text(
        CONFIG.format(
            module=module, timeout=TIMEOUT_S, python=sys.executable, tests=" ".join(MODULES[module])
        )
    )
    # The copy comes before the place where the project is installed.
    environment = {**os.environ, "PYTHONPATH": str(work / "src"), "OMP_NUM_THREADS": "1"}
    tool = [sys.executable, "-m", "cosmic_ray.cli"]
    for command in (["init", str(config), str(database)], ["exec", str(config), str(database)]):
        subprocess.run([*tool, *command], cwd=work, env=environment, check=True)
    killed, survivors = 0, []
    with use_db(str(database), WorkDB.Mode.open) as found:
        places = {item.job_id: item.mutations[0] for item in found.work_items}
        for job, result in found.results:
            if result.test_outcome == TestOutcome.KILLED:
                killed += 1
            elif result.test_outcome == TestOutcome.SURVIVED:
                place = places[job]
                survivors.append(f"{module}.py:{place.start_pos[0]} {place.operator_name}")
    return killed, killed + len(survivors), sorted(survivors)


def main() -> int:
    """Mutate modules, and say how many changes were noticed in each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", choices=[*MODULES, []], metavar="module")
    modules = parser.parse_args().modules or list(MODULES)
    lines, survivors, worst = [], [], 1.0
    with tempfile.TemporaryDirectory(prefix="napari-sam3-mutants-") as folder:
        work = Path(folder)
        for name in ("src", "tests", "pyproject.toml", "napari.yaml"):
            source, target = ROOT / name, work / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
        for module in modules:
            killed, total, left = mutate(module, work)
            share = killed / max(1, total)
            worst = min(worst, share)
            survivors += left
            lines.append(f"| {module} | {total} | {killed} | {share:.0%} |")
            print(lines[-1], flush=True)
    print("\n".join(["", "Not noticed:", *survivors, "", *lines]))
    print(f"\nthe least is {worst:.0%}, the goal {GOAL:.0%}")
    return 0 if worst >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
