"""Command-line options of ``pytest benchmarks/``."""

from __future__ import annotations

import pytest
import torch


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--grid", choices=("quick", "full"), default="quick")
    parser.addoption("--device", choices=("cpu", "cuda"), default="cpu")


def pytest_report_header() -> str:
    return f"torch {torch.__version__}, {torch.get_num_threads()} threads"
