"""``python -m p2pcpn`` is the ``p2pcpn`` command."""

from __future__ import annotations

if __name__ == "__main__":
    import sys

    from p2pcpn.cli.main import main

    sys.exit(main())
