"""The exception tree: who is at fault decides the class, and what crosses processes comes back whole."""

from __future__ import annotations

import pickle

import pytest

from p2pcpn import errors


@pytest.mark.parametrize(
    ("child", "parents"),
    [
        (errors.UsageError, (errors.P2pcpnError, ValueError)),
        (errors.PeerError, (errors.P2pcpnError,)),
        (errors.Unreachable, (errors.P2pcpnError, ConnectionError)),
        (errors.StoreError, (errors.P2pcpnError,)),
        (errors.TaskError, (errors.JobError, errors.P2pcpnError)),
        (errors.WorkerDied, (errors.JobError,)),
        (errors.TaskDeclined, (errors.JobError,)),
        (errors.ResultRefused, (errors.JobError,)),
        (errors.JobCancelled, (errors.JobError,)),
    ],
)
def test_an_error_is_caught_as_its_parents(child: type[Exception], parents: tuple[type[Exception], ...]) -> None:
    assert all(issubclass(child, parent) for parent in parents)


def test_the_docstring_names_every_exception() -> None:
    classes = [name for name, value in vars(errors).items() if isinstance(value, type) and value is not Exception]
    assert all(name in (errors.__doc__ or "") for name in classes if name != "RemoteTraceback")


def test_a_dead_worker_keeps_its_signal_through_pickle() -> None:
    died = pickle.loads(pickle.dumps(errors.WorkerDied("died of signal 9", signal=9)))
    assert (str(died), died.signal, died.exit_code) == ("died of signal 9", 9, None)
    assert pickle.loads(pickle.dumps(errors.WorkerDied("left", exit_code=3))).exit_code == 3


def test_a_declined_task_keeps_its_reasons_through_pickle() -> None:
    declined = pickle.loads(pickle.dumps(errors.TaskDeclined("nobody may", {"abcd": "no numpy"})))
    assert (str(declined), declined.reasons) == ("nobody may", {"abcd": "no numpy"})
    assert errors.TaskDeclined("nobody may").reasons == {}


def test_a_remote_traceback_is_shown_as_text() -> None:
    shown = errors.RemoteTraceback("Traceback: line 1\n")
    assert str(shown) == '\n"""\nTraceback: line 1\n"""'
    assert not isinstance(shown, errors.P2pcpnError)
