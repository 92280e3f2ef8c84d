"""An interrupt that a callback swallowed ends the training after its step all the same."""

import os
import signal

import pytest

from wwae.training.interrupts import keeping_interrupts, raise_if_interrupted


class Swallowing:
    """Interrupted while it ends, where Python drops what is raised."""

    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(100):  # the signal is handled between two instructions of Python
            pass


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_that_was_swallowed_is_raised_again():
    with keeping_interrupts():
        raise_if_interrupted()
        swallowing = Swallowing()
        del swallowing
        with pytest.raises(KeyboardInterrupt):
            raise_if_interrupted()
    raise_if_interrupted()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_is_raised_where_it_comes():
    with keeping_interrupts(), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(100):
            pass


def test_a_handler_of_the_program_stays():
    def handler(number, frame):
        pass

    before = signal.signal(signal.SIGINT, handler)
    try:
        with keeping_interrupts():
            assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)
