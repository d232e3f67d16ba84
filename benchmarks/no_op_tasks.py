"""No-op tasks with a future each and round trips, p2pcpn beside ``ProcessPoolExecutor``: the first look at speed.

python benchmarks/no_op_tasks.py [any flags of p2pcpn bench]
"""

from __future__ import annotations

import sys

from p2pcpn.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["bench", "delivery", "done", "roundtrip", "--against", "pool", *sys.argv[1:]]))
