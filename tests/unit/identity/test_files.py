"""Keys at rest: private, whole or absent, and one key however many processes ask at once."""

from __future__ import annotations

import errno
import os
import stat
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pcpn.errors import StoreError, UsageError
from p2pcpn.identity import files
from p2pcpn.identity.keys import Keypair


def test_a_key_is_made_private_and_read_again(tmp_path):
    path = tmp_path / "deep" / "owner.key"
    made = files.load_or_create_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert path.read_text() == f"p2pcpn-key-1 {made.seed.hex()}\n"
    assert files.load_key(path).public == files.load_or_create_key(str(path)).public == made.public
    assert [entry.name for entry in path.parent.iterdir()] == ["owner.key"]


def test_a_key_that_others_can_read_is_refused_with_the_command_that_helps(tmp_path):
    path = tmp_path / "owner.key"
    files.load_or_create_key(path)
    for mode in (0o640, 0o604, 0o620):
        path.chmod(mode)
        with pytest.raises(UsageError, match=f"chmod 600 {path}"):
            files.load_or_create_key(path)


@pytest.mark.parametrize(
    "text", ["", "p2pcpn-key-1", "p2pcpn-key-1 abc", f"other {'a' * 64}", f"p2pcpn-key-1 {'g' * 64}", "\xff" * 99]
)
def test_a_file_that_holds_no_key_is_left_alone_and_named(tmp_path, text):
    path = tmp_path / "owner.key"
    files.write_private(path, text)
    with pytest.raises(UsageError, match="is no p2pcpn key"):
        files.load_or_create_key(path)
    assert path.read_text() == text


def test_a_missing_key_and_a_directory_are_clear_errors(tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        files.load_key(tmp_path / "missing")
    with pytest.raises(UsageError, match="is no file"):
        files.load_key(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="Not a directory"):
        files.load_key(tmp_path / "file" / "key")
    with pytest.raises(StoreError, match="file"):
        files.load_or_create_key(tmp_path / "file" / "key")


def test_a_link_is_followed_to_a_key_and_never_written_through(tmp_path):
    made = files.load_or_create_key(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert files.load_or_create_key(tmp_path / "link").public == made.public
    (tmp_path / "dangling").symlink_to(tmp_path / "planted")
    with pytest.raises(UsageError, match="no such file"):
        files.load_or_create_key(tmp_path / "dangling")
    assert not (tmp_path / "planted").exists()


def test_all_who_ask_for_a_missing_key_at_once_get_the_same(tmp_path):
    start, keys = threading.Barrier(8), []

    def ask():
        start.wait()
        keys.append(files.load_or_create_key(tmp_path / "key").public)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 8 and len(set(keys)) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["key"]


def test_the_slower_of_two_makers_takes_the_key_of_the_faster(tmp_path, monkeypatch):
    faster = files.load_or_create_key(tmp_path / "key")
    monkeypatch.setattr(os.path, "lexists", lambda path: False)
    assert files.load_or_create_key(tmp_path / "key").public == faster.public


def test_a_file_system_without_hard_links_serves_as_well(tmp_path, monkeypatch):
    def refuse(source, target):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    made = files.load_or_create_key(tmp_path / "key")
    assert files.load_key(tmp_path / "key").public == made.public
    with pytest.raises(FileExistsError):
        files.write_private(tmp_path / "key", "other", replace=False)
    assert files.load_key(tmp_path / "key").public == made.public


def test_a_private_file_is_replaced_whole_and_a_full_disk_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "word"
    files.write_private(path, "one")
    files.write_private(path, "two")
    assert files.read_private(path) == "two"

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left"):
        files.write_private(path, "three")
    assert files.read_private(path) == "two" and len(list(tmp_path.iterdir())) == 1


def test_a_directory_in_the_way_of_a_private_file_is_an_error(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(StoreError, match="taken"):
        files.write_private(tmp_path / "taken", "text")


def test_a_swarm_key_is_its_bytes_its_text_or_a_file_of_it(tmp_path):
    key = files.new_swarm_key()
    text = files.format_swarm_key(key)
    files.write_private(tmp_path / "swarm", f"{text}\n")
    assert len(key) == 32 and key != files.new_swarm_key()
    assert text.isalnum() and files.parse_swarm_key(f" {text.upper()}\n") == key
    for given_as in (key, text, tmp_path / "swarm", str(tmp_path / "swarm")):
        assert files.load_swarm_key(given_as) == key


def test_what_is_no_swarm_key_is_refused_without_being_repeated(tmp_path):
    for wrong in ("secret-word", "secret" * 1000, "secret\0", b"secret", "zz" * 32, " ".join(["ab"] * 22)):
        with pytest.raises(UsageError) as caught:
            files.load_swarm_key(wrong)
        assert "secret" not in str(caught.value)
    for zero in (bytes(32), "0" * 64):
        with pytest.raises(UsageError, match="open swarm"):
            files.load_swarm_key(zero)
    (tmp_path / "open").write_text("a" * 64)
    (tmp_path / "open").chmod(0o644)
    with pytest.raises(UsageError, match="chmod 600"):
        files.load_swarm_key(tmp_path / "open")


@given(st.binary(min_size=32, max_size=32).filter(any))
def test_every_swarm_key_survives_its_text(key):
    assert files.parse_swarm_key(files.format_swarm_key(key)) == key


def test_the_key_in_the_file_is_the_key_of_its_seed(tmp_path):
    files.write_private(tmp_path / "key", f"p2pcpn-key-1 {'07' * 32}\n")
    assert files.load_key(tmp_path / "key").id == Keypair(b"\7" * 32).id
