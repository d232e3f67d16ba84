"""What a node warns of is said on stderr, each text once, and not for ever."""

from __future__ import annotations

import io
import logging

import pytest

from p2pcpn.cli.notices import NOTICES_MAX, Notices

log = logging.getLogger("p2pcpn.store")


def test_warnings_are_said_once_each_while_the_block_lasts(capsys: pytest.CaptureFixture[str]) -> None:
    with Notices() as notices:
        for _ in range(2):
            log.warning("%s: is corrupt", "node.db")
        log.info("all is well")
        logging.getLogger("another").warning("says a library")
        assert "node.db: is corrupt" in notices and "all is well" not in notices
    log.warning("afterwards")
    assert capsys.readouterr() == ("", "p2pcpn: node.db: is corrupt\n")


def test_a_traceback_stays_in_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    with Notices():
        try:
            raise ValueError("inner")
        except ValueError:
            log.exception("a step failed")
    assert capsys.readouterr().err == "p2pcpn: a step failed\n"


def test_who_wants_quiet_hears_errors_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with Notices(errors_only=True):
        log.warning("not so bad")
        log.error("bad")
    assert capsys.readouterr().err == "p2pcpn: bad\n"


def test_ever_new_texts_end_with_one_that_says_where_the_others_are(capsys: pytest.CaptureFixture[str]) -> None:
    with Notices():
        for number in range(2 * NOTICES_MAX):
            log.warning("chunk %d is damaged", number)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == NOTICES_MAX + 1 and "in the log alone" in lines[-1]


def test_the_line_that_says_how_the_node_is_makes_room(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Notices():
        monkeypatch.setattr("sys.stdout.isatty", lambda: True)
        log.warning("look here")
    out, err = capsys.readouterr()
    assert (out, err) == ("\r\x1b[2K", "p2pcpn: look here\n")


def test_whoever_warns_goes_on_where_nobody_reads_what_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr("sys.stderr", Closed())
    with Notices() as notices:
        log.warning("nobody reads this")
    assert "nobody reads this" in notices
