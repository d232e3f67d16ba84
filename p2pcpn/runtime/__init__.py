"""Where tasks run: in worker processes that are never the peer's own."""
