"""The meter counts time, and memory that was held at the peak and given back."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from veridical.workflow.league_meter import clock, metered

CPU = torch.device("cpu")


def test_memory_at_the_peak_counts_and_is_counted_anew_each_time() -> None:
    found = []
    for size in (96, 4):
        with metered(CPU) as meter:
            held = np.ones(size * 2**17)
            del held
        if meter.memory is None:
            pytest.skip("this system does not say how much memory was held")
        found.append(meter.memory)
    assert found[0] > 80
    assert found[1] < found[0] / 2


def test_waiting_costs_seconds_and_no_processor_seconds() -> None:
    with metered(CPU) as meter:
        begun = clock(CPU)
        time.sleep(0.05)
        waited = clock(CPU) - begun
    assert meter.seconds >= 0.05
    assert max(meter.processor_seconds, waited) < 0.05


def test_work_that_fails_is_measured_too() -> None:
    with pytest.raises(ValueError, match="stop"), metered(CPU) as meter:
        raise ValueError("stop")
    assert meter.seconds > 0
