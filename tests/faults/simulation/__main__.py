"""``python -m tests.faults.simulation [rivals] SEED [SEEDS]``: live through one seed, or so many from it on.

With ``rivals`` there are two writers in each.
"""

import sys
import time

from tests.faults.simulation import Rivals, SeedFailed, Story, simulate


def main() -> int:
    """Simulate and tell what came of it: one line for each seed, and all of those that fail."""
    words = sys.argv[1:]
    kind = Rivals if words[0] == "rivals" else Story
    first, *more = (int(word) for word in words if word.isdigit())
    count, lives, failed = more[0] if more else 1, 0, list[int]()
    for seed in range(first, first + count):
        begun = time.process_time()
        try:
            outcome = simulate(seed, kind)
            lives += outcome.lives
            print(f"{seed}: {outcome}, {time.process_time() - begun:.1f} s", flush=True)
        except SeedFailed as error:
            failed.append(seed)
            print(error, flush=True)
            if count == 1:
                raise
    print(f"{count - len(failed)} well ({lives} lives), {len(failed)} failed: {failed}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
