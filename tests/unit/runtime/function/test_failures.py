"""An exception travels in bounded words, and pickled where it can be."""

from __future__ import annotations

import pickle

import pytest

from p2pcpn.errors import PeerError
from p2pcpn.limits import FAILURE_PICKLE_BYTES_MAX, FAILURE_TEXT_CHARS_MAX, FAILURE_TRACEBACK_CHARS_MAX
from p2pcpn.runtime.function.failures import decode, encode, type_name


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


def raised(error: BaseException, depth: int = 0) -> BaseException:
    def deep(left: int) -> None:
        if left:
            deep(left - 1)
        raise error

    try:
        deep(depth)
    except BaseException as caught:
        return caught
    raise AssertionError


def test_type_text_traceback_and_pickle_are_kept() -> None:
    failure = decode(encode(raised(ValueError("bad", 3))))
    assert (failure.type_name, failure.text) == ("ValueError", "('bad', 3)")
    assert failure.traceback.startswith("Traceback") and "in deep" in failure.traceback
    assert failure.pickled is not None and pickle.loads(failure.pickled).args == ("bad", 3)


def test_frames_of_the_worker_are_left_out() -> None:
    error = raised(ValueError())
    assert "in raised" in decode(encode(error)).traceback
    assert "in raised" not in decode(encode(error, skip=1)).traceback
    assert decode(encode(error, skip=9)).traceback == "ValueError\n"


def test_causes_are_part_of_the_traceback() -> None:
    error = ValueError("second")
    error.__cause__ = KeyError("first")
    assert "KeyError: 'first'" in decode(encode(error)).traceback


def test_texts_and_tracebacks_are_bounded_and_keep_their_ends() -> None:
    failure = decode(encode(raised(ValueError("a" * 100_000 + "end\ud800"))))
    assert len(failure.text) <= FAILURE_TEXT_CHARS_MAX and "cut" in failure.text
    assert len(failure.traceback) <= FAILURE_TRACEBACK_CHARS_MAX and "end\\ud800" in failure.traceback


def test_arguments_that_are_too_large_or_cannot_be_pickled_stay_there() -> None:
    assert decode(encode(ValueError("x" * FAILURE_PICKLE_BYTES_MAX))).pickled is None
    assert decode(encode(ValueError(iter(lambda: 1, 2), (x for x in ())))).pickled is None


def test_a_type_that_only_cloudpickle_can_send_is_sent() -> None:
    class Local(Exception):
        pass

    failure = decode(encode(Local(1)))
    assert failure.type_name.endswith("Local") and failure.pickled is not None


def test_an_exception_without_text_is_described_all_the_same() -> None:
    failure = decode(encode(Unprintable()))
    assert failure.text == "(its text cannot be shown)" and "Unprintable" in failure.traceback
    assert type_name(Unprintable()).endswith("test_failures.Unprintable")


def test_an_exception_whose_traceback_cannot_be_made_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> list[str]:
        raise RecursionError

    monkeypatch.setattr("traceback.format_exception", fail)
    assert "cannot be shown" in decode(encode(ValueError())).traceback


def test_foreign_bytes_raise_a_peer_error() -> None:
    for data in (b"", b"\xc1", b"\x90", b"\x94\x01\x01\x01\x01"):
        with pytest.raises(PeerError):
            decode(data)
