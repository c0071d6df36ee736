"""The calibration: Figure 2 and the hardware's description, and nothing else."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from scenarios.papers import calibration, figures
from scenarios.papers.calibration import MAPS, WORKERS
from scenarios.papers.hardware import MIB, SPLIT


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the curves that are read while the calibration is made anew."""
    names: list[str] = []

    def curve(name: str) -> figures.Curve:
        names.append(name)
        return figures.curve(name)

    monkeypatch.setattr(calibration, "curve", curve)
    calibration.calibrate.cache_clear()
    return names


def test_it_reads_figure_2_alone(read: list[str]) -> None:
    calibration.calibrate()
    assert read == ["mr_fig2_grep"]


def test_neither_the_hardware_nor_the_model_knows_figure_3() -> None:
    code = (
        "import sys, scenarios.papers.calibration, scenarios.papers.modelled;"
        "assert 'scenarios.papers.mapreduce_sort' not in sys.modules;"
        "assert 'scenarios.papers.overlay' not in sys.modules"
    )
    import subprocess

    subprocess.run([sys.executable, "-c", code], check=True)


def test_all_machines_together_read_at_the_peak_of_the_figure() -> None:
    found = calibration.calibrate()
    assert found.read_rates(WORKERS).sum() / MIB == pytest.approx(31_507.7, rel=1e-3)


def test_workers_come_until_all_are_there() -> None:
    found = calibration.calibrate()
    times = [found.arrival(share) for share in np.linspace(0, 1, 50)]
    assert times == sorted(times)
    assert 40 < times[-1] < 45


def test_the_tail_of_the_figure_is_on_the_slow_machines() -> None:
    grep = figures.curve("mr_fig2_grep")
    rates = calibration.calibrate().read_rates(WORKERS)
    began = 63.5 - calibration._when_left(rates, calibration._left(grep, 63.5))
    for time in (73.5, 83.5, 93.5):
        observed = calibration._left(grep, time)
        assert calibration._modelled_left(rates, time - began) == pytest.approx(observed, rel=0.35)


def test_the_figures_are_whole() -> None:
    grep = figures.curve("mr_fig2_grep")
    assert calibration._left(grep, 0) == pytest.approx(MAPS * SPLIT, rel=1e-3)


def test_a_figure_that_is_not_there() -> None:
    with pytest.raises(FileNotFoundError):
        figures.curve("mr_fig9")
