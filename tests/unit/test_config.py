"""Settings: what is given is checked at once, and each refusal says what to write instead."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pcpn import config
from p2pcpn.config import Config, parse_cpus
from p2pcpn.errors import UsageError


def test_the_defaults_are_those_of_a_volunteer():
    default = Config()
    assert default.listen == "0.0.0.0:0" and default.profile == "public"
    assert default.roles == ("compute", "storage") and default.accept == ("function",)
    assert default.bootstrap == default.trust == default.tags == ()
    assert default.cpus is default.memory_bytes is default.data_dir is default.key is default.swarm_key is None
    assert default.durable and default.position is None and default.seed is None


def test_the_local_profile_listens_on_the_loopback_unless_told_otherwise():
    assert Config(profile="local").listen == "127.0.0.1:0"
    assert Config(profile="local", listen="[::1]:4000").listen == "[::1]:4000"


def test_lists_become_tuples_and_paths_are_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    made = Config(
        bootstrap=["b:1", "a:2", "b:1"], data_dir="~/swarm", key=Path("/k"), roles=["storage"], position=[1, 2]
    )
    assert made.bootstrap == ("b:1", "a:2")
    assert made.data_dir == Path("/home/ada/swarm") and made.key == Path("/k")
    assert made.roles == ("storage",) and made.position == (1.0, 2.0)
    assert dataclasses.replace(made, cpus=2).bootstrap == made.bootstrap
    assert hash(made) == hash(dataclasses.replace(made))


def test_a_text_of_addresses_is_taken_apart():
    assert Config(bootstrap="a:1, b:2").bootstrap == ("a:1", "b:2")
    assert config.parse_bootstrap("# seeds\na:1 # one\n\n[::1]:2,b:3\n") == ("a:1", "[::1]:2", "b:3")


def test_the_swarm_key_is_not_in_the_text_of_a_config():
    assert "secret" not in repr(Config(swarm_key="secret"))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"cpus": 0}, "cpus must be at least 1, not 0"),
        ({"cpus": 2, "cpus_min": 3}, "cpus_min must be at most 2, not 3"),
        ({"cpus": 1 << 16}, "cpus must be at most 65535"),
        ({"cpus": "4"}, "cpus must be a whole number, not '4'"),
        ({"cpus": True}, "cpus must be a whole number"),
        ({"memory_bytes": -1}, "memory_bytes must be at least 1, not -1"),
        ({"disk_bytes": -1}, "disk_bytes must be at least 0, not -1"),
        ({"seed": 1.5}, "seed must be a whole number"),
        ({"profile": "privat"}, "profile is one of public, local, not 'privat'"),
        ({"roles": ["compute", "boss"]}, "roles takes compute, storage, relay, not 'boss'"),
        ({"roles": "compute"}, 'roles takes a list of words, for example \\["compute"\\]'),
        ({"roles": 5}, "roles takes a list"),
        ({"tags": [5]}, "tags takes a list of words, and 5 is none"),
        ({"accept": ["cobol"]}, "accept takes function, not 'cobol'"),
        ({"bootstrap": ["nowhere"]}, "bootstrap takes HOST:PORT, for example 192.0.2.7:4000, not 'nowhere'"),
        ({"bootstrap": ["host:0"]}, "bootstrap takes HOST:PORT"),
        ({"bootstrap": ["::1:4000"]}, "bootstrap takes HOST:PORT"),
        ({"listen": "host:70000"}, "listen takes HOST:PORT"),
        ({"listen": ":4000"}, "listen takes HOST:PORT"),
        ({"listen": "host:٤"}, "listen takes HOST:PORT"),
        ({"trust": ["abc"]}, "trust takes owners' public keys"),
        ({"tags": list("abcde")}, "tags are at most 4 words"),
        ({"tags": ["x" * 33]}, "tags are at most 4 words"),
        ({"swarm_key": b"short"}, "swarm_key has 32 bytes, not 5"),
        ({"position": (91, 0)}, "position takes a latitude"),
        ({"position": (float("nan"), 0)}, "position takes a latitude"),
        ({"position": "here"}, "position takes latitude and longitude"),
        ({"position": (1,)}, "position takes latitude and longitude"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_in_one_line(settings, words):
    with pytest.raises(UsageError, match=words) as caught:
        Config(**settings)
    assert "\n" not in str(caught.value)


def test_a_client_takes_no_role_and_zero_means_zero():
    assert Config(roles=[], disk_bytes=0).roles == ()
    assert Config(disk_bytes=None).disk_bytes is None


def test_trusted_keys_are_compared_in_small_letters():
    assert Config(trust=["AB" * 32]).trust == ("ab" * 32,)


def test_the_environment_fills_in_what_is_not_given():
    env = {"P2PCPN_BOOTSTRAP": "a:1 b:2", "P2PCPN_SWARM_KEY": " word ", "P2PCPN_KEY": "/k", "HOME": "/h"}
    made = Config.from_env(env, cpus=2)
    assert made.bootstrap == ("a:1", "b:2") and made.swarm_key == "word" and made.key == Path("/k") and made.cpus == 2
    made = Config.from_env(env, bootstrap=["c:3"], swarm_key="other", key=None)
    assert made.bootstrap == ("c:3",) and made.swarm_key == "other" and made.key == Path("/k")
    assert Config.from_env({"P2PCPN_SWARM_KEY": ""}) == Config()


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("4096", 4096),
        ("2G", 2 << 30),
        ("512m", 512 << 20),
        ("1.5 GiB", 3 << 29),
        ("3kb", 3072),
        ("1T", 1 << 40),
    ],
)
def test_sizes_are_read(text, size):
    assert config.parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "duration_s"), [("90", 90), ("250ms", 0.25), ("5m", 300), ("1.5h", 5400), ("7 d", 604800), ("2W", 1209600)]
)
def test_durations_are_read(text, duration_s):
    assert config.parse_duration(text) == duration_s


@given(st.text(max_size=12))
def test_any_text_is_a_number_of_bytes_and_of_seconds_or_a_usage_error(text):
    for parse in (config.parse_size, config.parse_duration):
        try:
            assert parse(text) >= 0
        except UsageError as error:
            assert "write for example" in str(error)


def test_directories_follow_the_environment_and_the_platform():
    home = {"HOME": "/home/ada"}
    assert config.data_home(home, "linux") == Path("/home/ada/.local/share/p2pcpn")
    assert config.config_home(home, "linux") == Path("/home/ada/.config/p2pcpn")
    assert config.state_home(home, "linux") == Path("/home/ada/.local/state/p2pcpn")
    assert config.owner_key_path(home, "linux") == Path("/home/ada/.config/p2pcpn/owner.key")
    assert config.data_home({**home, "XDG_DATA_HOME": "/data"}, "linux") == Path("/data/p2pcpn")
    assert config.data_home({**home, "XDG_DATA_HOME": "relative"}, "linux") == Path("/home/ada/.local/share/p2pcpn")
    assert config.config_home(home, "darwin") == Path("/home/ada/Library/Application Support/p2pcpn")
    assert config.config_home({**home, "APPDATA": "/roaming"}, "win32") == Path("/roaming/p2pcpn")
    assert config.state_home({}, "linux") == Path.home() / ".local/state/p2pcpn"


def test_a_number_of_tasks_or_a_range_of_it() -> None:
    assert parse_cpus("4") == (None, 4) and parse_cpus(" 1-8 ") == (1, 8)
    for wrong in ("", "-3", "1-", "1-2-3", "x", "123456", "8-1"):
        with pytest.raises(UsageError):
            parse_cpus(wrong)
