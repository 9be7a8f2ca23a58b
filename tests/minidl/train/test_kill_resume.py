"""SIGKILL at random moments, in short: the whole is `python -m benchmarks.quality.kill_resume`."""

import pytest

from benchmarks.quality import kill_resume


@pytest.mark.slow
def test_three_kills_leave_no_trace(capfd):
    assert kill_resume.main(["--kills", "3", "--seed", "1"]) == 0
    assert "3 of 3 bit-equal" in capfd.readouterr().out
