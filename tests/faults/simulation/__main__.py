"""``python -m tests.faults.simulation SEED [SEEDS]``: live through one seed, or so many from it on."""

import sys
import time

from tests.faults.simulation import SeedFailed, simulate


def main() -> int:
    """Simulate and tell what came of it: one line for each seed, and all of those that fail."""
    first, count = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    failed = list[int]()
    for seed in range(first, first + count):
        begun = time.process_time()
        try:
            print(f"{seed}: {simulate(seed)}, {time.process_time() - begun:.1f} s", flush=True)
        except SeedFailed as error:
            failed.append(seed)
            print(error, flush=True)
            if count == 1:
                raise
    print(f"{count - len(failed)} well, {len(failed)} failed: {failed}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
