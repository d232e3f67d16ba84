"""Benchmarks: p2pcpn and the systems people would pick instead, in turn, in one run."""
