"""What a piece of work costs: seconds, processor seconds, and the growth of memory at its peak."""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
PEAK, NOW = "VmHWM:", "VmRSS:"
MIB = 2**20


@dataclass
class Meter:
    """Filled when the work is done.

    Args:
        seconds: by the clock.
        processor_seconds: of all threads of this process.
        memory: MiB that were held at the peak beyond what was held before: allocated on a CUDA GPU,
            resident elsewhere; None where the system does not say.
    """

    seconds: float = 0.0
    processor_seconds: float = 0.0
    memory: float | None = None


@contextmanager
def metered(device: torch.device) -> Iterator[Meter]:
    """Measure what the block costs on a device."""
    meter, before = Meter(), _begin(device)
    begun, worked = time.perf_counter(), time.process_time()
    try:
        yield meter
    finally:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        meter.seconds = time.perf_counter() - begun
        meter.processor_seconds = time.process_time() - worked
        peak = _peak(device)
        meter.memory = None if peak is None or before is None else max(0.0, peak - before)


def clock(device: torch.device) -> float:
    """Return the clock of a budget: processor seconds on a CPU, which does not run while others
    have the processor; seconds elsewhere.
    """
    if device.type == "cpu":
        return time.process_time()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _begin(device: torch.device) -> float | None:
    """Forget earlier peaks; return what is held now, MiB."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device) / MIB
    with suppress(OSError, AttributeError):  # give freed memory back, so that it counts anew
        ctypes.CDLL(None).malloc_trim(0)
    with suppress(OSError):
        CLEAR.write_text("5", encoding="ascii")
        return _status(NOW)
    return _resident()


def _peak(device: torch.device) -> float | None:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / MIB
    return _status(PEAK) if STATUS.is_file() else _resident()


def _status(entry: str) -> float | None:
    lines = STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    said = next((line for line in lines if line.startswith(entry)), None)
    return None if said is None else float(said.split()[1]) / 1024


def _resident() -> float | None:
    """Return the largest resident size of this process so far, MiB; None where the system has no
    such count.
    """
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = MIB if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
