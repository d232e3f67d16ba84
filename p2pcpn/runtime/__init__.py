"""Runtimes: where foreign code runs, in processes that are never the peer's own."""
