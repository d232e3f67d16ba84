"""How soon a program that just began has its first result, and how soon a new job on a running swarm.

python benchmarks/first_result.py [any flags of p2pcpn bench]
"""

from __future__ import annotations

import sys

from p2pcpn.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["bench", "cold", "first", "--against", "pool", *sys.argv[1:]]))
