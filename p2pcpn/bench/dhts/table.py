"""What the benchmark of records knows of a hash table: peers that store and get."""

from __future__ import annotations

from abc import ABC, abstractmethod


class Table(ABC):
    """Peers of one kind on this machine, numbered from 0. ``store`` and ``get`` are called from several threads."""

    @abstractmethod
    def start(self, peers: int) -> None:
        """Start so many peers that know each other."""

    @abstractmethod
    def stop(self) -> None:
        """End them. May be called at any time, and twice."""

    @abstractmethod
    def store(self, peer: int, key: str, value: bytes) -> bool:
        """Let a peer store ``value`` under ``key``; whether it says that it did."""

    @abstractmethod
    def get(self, peer: int, key: str) -> bytes | None:
        """Let a peer get what is stored under ``key``."""
