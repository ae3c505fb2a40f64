"""Signals that ask to stop are asked for by training, and by nobody else's leave."""

import shlex
import signal
import threading
from pathlib import Path

import pytest

from floq.interrupted import Interrupted
from floq.training.signals import interruptions
from floq.workers import stop_signals


@pytest.fixture
def hang_up():
    """Puts the handler of SIGHUP back."""
    former = signal.getsignal(signal.SIGHUP)
    yield
    signal.signal(signal.SIGHUP, former)


def test_a_lost_connection_asks_for_a_stop(hang_up):
    """SIGHUP does as SIGTERM does, and afterwards what it did before."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    with interruptions() as stop:
        signal.raise_signal(signal.SIGHUP)
        assert stop()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL


def test_nohup_is_obeyed(hang_up):
    """A SIGHUP that is ignored stays so."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert stop_signals() == [signal.SIGINT, signal.SIGTERM]
    with interruptions() as stop:
        signal.raise_signal(signal.SIGHUP)
        assert not stop()


def test_a_signal_is_noted_where_nothing_can_be_said(monkeypatch):
    """A terminal that is gone answers with an error, which must not reach what is saved."""

    def write(descriptor, content):
        raise OSError(5, "Input/output error")

    with interruptions() as stop:
        monkeypatch.setattr("os.write", write)
        signal.raise_signal(signal.SIGTERM)
        assert stop()


def test_the_command_that_continues_can_be_pasted():
    """A folder with a space in its name is quoted."""
    interrupted = Interrupted(Path("my runs/a'b"), 3)
    assert shlex.split(interrupted.command) == ["floq", "resume", "my runs/a'b"]
    assert interrupted.command in str(interrupted)


def test_interruptions_note_signals_and_then_restore():
    """Both signals, as often as they come, set the flag only; afterwards Ctrl-C is Ctrl-C again."""
    with interruptions() as stop:
        assert not stop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGINT):
            signal.raise_signal(number)
        assert stop()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_interruptions_leave_other_threads_alone():
    """In a thread, where Python allows no handlers, training runs without them."""
    results = []

    def body():
        with interruptions() as stop:
            results.append(stop())

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert results == [False]
