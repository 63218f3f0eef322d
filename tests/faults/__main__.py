"""`make faults`: 120 kills over the long stages and every other fault; writes results/faults.json.

python tests/faults [--kills 10] [--groups 2] [--seed 0] [--only CASE...] [--out FILE]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from calm import Calm, run_calmly
from kills import fire
from others import FAULTS, Impossible
from place import CASES, TABLE

PER_ROUND = 3
Wanted = tuple[int, int, int]
"""Kills of a case, how many of them hit Snakemake's whole group, and kills in a round."""


def say(text: str) -> None:
    """Progress, for the person who waits."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def kill_stages(calm: Calm, folder: Path, cases: list[str], wanted: Wanted, seed: int) -> dict:
    """Kills of long stages in one hurt copy, then its tables beside the calm ones."""
    hurt = calm.place.copy(folder / "hurt")
    stages = {}
    for stage in cases:
        tally = fire(hurt, stage, calm.digest[stage], wanted, seed)
        stages[stage] = asdict(tally)
        say(f"{stage}: {tally}")
    hurt.run()
    same = (hurt.folder / TABLE).read_bytes() == calm.table
    return {
        "kills": sum(stage["kills"] for stage in stages.values()),
        "kills_of_groups": sum(stage["of_groups"] for stage in stages.values()),
        "kills_in_refresh": sum(stage["in_refresh"] for stage in stages.values()),
        "differences": sum(stage["differences"] for stage in stages.values()) + (not same),
        "metrics_bytes_equal": same,
        "manual_steps": ["snakemake --unlock, after a kill of Snakemake's process group"],
        "stages": stages,
    }


def other_faults(calm: Calm, folder: Path) -> dict[str, dict[str, str]]:
    """Every other fault with what it is and the message a user sees."""
    found = {}
    for fault in FAULTS:
        what = (fault.__doc__ or "").strip()
        try:
            found[fault.__name__] = {"fault": what, "message": fault(calm, folder / fault.__name__)}
        except Impossible as reason:
            found[fault.__name__] = {"fault": what, "skipped": str(reason)}
        except AssertionError as error:
            found[fault.__name__] = {"fault": what, "failed": str(error)[:2000]}
        say(f"{fault.__name__}: {', '.join(list(found[fault.__name__])[1:])}")
    return found


def main() -> int:
    """Exit code 0 when kills landed, nothing differed and every fault ended as it should."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=10, help="per stage")
    parser.add_argument("--groups", type=int, default=2, help="of them Snakemake's whole group")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("results/faults.json"))
    parser.add_argument("--only", nargs="+", choices=CASES, help="kill these alone; no other fault")
    options = parser.parse_args()
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        calm = run_calmly(folder / "calm", systems=True)
        say("calm run done")
        wanted = (options.kills, options.groups, PER_ROUND)
        killed = kill_stages(calm, folder, options.only or list(CASES), wanted, options.seed)
        others = {} if options.only else other_faults(calm, folder)
    report = {**killed, "others": others, "seconds": round(time.monotonic() - begin)}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + "\n")
    say(f"{killed['kills']} kills, {killed['differences']} differences: {options.out}")
    good = killed["kills"] and not killed["differences"]
    return 0 if good and not any("failed" in fault for fault in others.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
