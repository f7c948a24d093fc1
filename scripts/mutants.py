"""Change the code a little, run its tests, and count the changes that they notice.

`mutmut` changes an operator, a number, a text, an argument or a condition of a function at a time,
in a copy of the project, and runs the tests that call the function. Run with the names of modules,
or none for all of them; it takes hours.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
#: Share of the changes that have to be noticed.
GOAL = 0.85
MUTMUT = str(Path(sys.executable).parent / "mutmut")
PLUGIN = "tests/napari_sam3"
OF_SESSION = "session session_commands session_jobs history objects batch_steps"
OF_CURATING = "curating curating_records"
SESSION = [f"{PLUGIN}/session/test_{name}.py" for name in f"{OF_SESSION} {OF_CURATING}".split()]
SESSION.append(f"{PLUGIN}/labels/test_edits.py")
SESSION_PARTS = "accepting changes curating drafts history objects prompting"
#: Each module, and the tests that have to notice.
MODULES = {
    "sam3/prompts": ["tests/sam3/test_prompts.py"],
    "sam3/preprocess/transforms": [
        f"tests/sam3/test_{name}.py" for name in ("transforms", "features", "decoding")
    ],
    "sam3/weights/load": ["tests/sam3/test_checkpoint.py", "tests/sam3/test_features.py"],
    "napari_sam3/core/prompts": [
        f"{PLUGIN}/core/test_prompts.py",
        f"{PLUGIN}/batch/test_batch_prompts.py",
    ],
    "napari_sam3/core/fields": [
        f"{PLUGIN}/core/test_field_examples.py",
        f"{PLUGIN}/core/test_fields.py",
    ],
    **{f"napari_sam3/session/{name}": SESSION for name in SESSION_PARTS.split()},
}
#: Imported once, and not for each change: `-p` imports any module.
PRELOADED = (
    "napari.utils.colormaps",
    "scipy.linalg",
    "scipy.spatial",
    "skimage.morphology",
    "sympy",
)
#: They take longer to start, or to look for what tests leave behind, than most tests do.
PLUGINS_OFF = (
    "cacheprovider",
    "napari",
    "threadexception",
    "unraisableexception",
    "xdist",
    "xvfb",
)
# Tests use torch, whose threads do not outlive a fork, so that changes are forked off a process
# that has run none.
CONFIG = """
[mutmut]
source_paths=src
only_mutate=src/{module}.py
also_copy=napari.yaml
pytest_add_cli_args_test_selection=
    {tests}
pytest_add_cli_args=
    --assert=plain
    {plugins}
process_isolation=forkserver
timeout_constant=3
timeout_multiplier=2
"""


@dataclass(frozen=True)
class Found:
    """What became of a module's changes.

    Attributes
    ----------
    noticed : int
        Made a test fail.
    endless : int
        Made a test take far too long; noticed too.
    survivors : list of str
        Names of those that no test noticed, or called.
    """

    noticed: int
    endless: int
    survivors: list[str]

    @property
    def total(self) -> int:
        """All changes."""
        return self.noticed + self.endless + len(self.survivors)

    @property
    def share(self) -> float:
        """Noticed, of all."""
        return (self.noticed + self.endless) / max(1, self.total)


def mutate(module: str, work: Path, workers: int) -> Found:
    """Change a module of the copy in `work` in all ways."""
    from mutmut.stats import status_by_exit_code

    tests = "\n    ".join(MODULES[module])
    plugins = [*PRELOADED, *(f"no:{name}" for name in PLUGINS_OFF)]
    (work / "setup.cfg").write_text(
        CONFIG.format(
            module=module, tests=tests, plugins="\n    ".join(f"-p\n    {p}" for p in plugins)
        )
    )
    shutil.rmtree(work / "mutants", ignore_errors=True)
    one_thread = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    environment = {**os.environ, **one_thread, "QT_QPA_PLATFORM": "offscreen"}
    command = [MUTMUT, "run", "--max-children", str(workers)]
    log = work / "mutmut.log"
    with log.open("w") as output:
        done = subprocess.run(command, cwd=work, env=environment, stdout=output, check=False)
    if done.returncode:
        raise SystemExit(f"mutmut failed on {module}:\n{log.read_text()[-2000:]}")
    meta = json.loads((work / "mutants" / "src" / f"{module}.py.meta").read_text())
    statuses = {name: status_by_exit_code[code] for name, code in meta["exit_code_by_key"].items()}
    survivors = [name for name, status in statuses.items() if status in ("survived", "no tests")]
    unclear = set(statuses.values()) - {"killed", "timeout", "survived", "no tests"}
    if unclear:
        raise SystemExit(f"mutmut could not tell for some changes of {module}: {sorted(unclear)}")
    endless = [*statuses.values()].count("timeout")
    return Found(len(statuses) - endless - len(survivors), endless, survivors)


def shown(survivor: str, work: Path) -> str:
    """Return a change that was not noticed, as a diff."""
    command = [MUTMUT, "show", survivor]
    return subprocess.run(command, cwd=work, check=True, capture_output=True, text=True).stdout


def main() -> int:
    """Mutate modules, and say how many changes were noticed in each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", choices=[*MODULES, []], metavar="module")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--survivors", type=Path, metavar="FILE", help="write their diffs there")
    arguments = parser.parse_args()
    lines, worst = [], 1.0
    with tempfile.TemporaryDirectory(prefix="napari-sam3-mutants-") as folder:
        work = Path(folder)
        for name in ("src", "tests", "pyproject.toml", "napari.yaml"):
            source, target = ROOT / name, work / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
        for module in arguments.modules or MODULES:
            found = mutate(module, work, arguments.workers)
            worst = min(worst, found.share)
            counts = f"{found.total} | {found.noticed} | {found.endless} | {found.share:.0%}"
            lines.append(f"| {module} | {counts} |")
            print(lines[-1], flush=True)
            if arguments.survivors:
                with arguments.survivors.open("a") as file:
                    file.writelines(shown(survivor, work) for survivor in found.survivors)
    print("\n".join(["", *lines]))
    print(f"\nthe least is {worst:.0%}, the goal {GOAL:.0%}")
    return 0 if worst >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
