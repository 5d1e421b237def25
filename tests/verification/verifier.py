"""One proof: a kernel, a launch and the ways taken through its branches, put to SentryWard."""

from __future__ import annotations

import json
import re
import tempfile
import time
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from tests.verification.cases import Launch
from tests.verification.ptx import Kernel
from tests.verification.specialize import specialize


@dataclass
class Outcome:
    """What the verifier says.

    ``result`` is its own word, ``"race_free"`` where nothing is left open, and ``reason`` its
    message otherwise. ``branches`` are those that neither the launch nor ``decisions`` decide: by
    their lines, the outcome that was taken. ``assumptions`` are the verifier's names of those that
    the result rests on.
    """

    result: str
    reason: str
    seconds: float
    branches: dict[int, bool]
    assumptions: tuple[str, ...] = ()
    diagnostics: list[dict[str, Any]] = field(default_factory=list, repr=False)
    races: list[dict[str, Any]] = field(default_factory=list, repr=False)
    undecided: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def race_free(self) -> bool:
        return self.result == "race_free"


def verify(kernel: Kernel, launch: Launch, decisions: dict[int, bool], timeout: float) -> Outcome:
    """Put a specialized kernel to the verifier.

    Args:
        kernel: What :func:`tests.verification.specialize.specialize` returns for the launch.
        decisions: By the lines of branches whose outcome depends on data, whether they are taken.
        timeout: Seconds.
    """
    import sentryward  # optional: __main__ says how to install it

    with tempfile.TemporaryDirectory() as folder:
        ptx, config = Path(folder, "kernel.ptx"), Path(folder, "launch.json")
        ptx.write_text(kernel.text)
        config.write_text(json.dumps(launch_config(kernel, launch, decisions)))
        started = time.monotonic()
        report = sentryward.verify(ptx, input=config, timeout_seconds=timeout)
        seconds = time.monotonic() - started
    diagnostics = report.get("diagnostics", [])
    assumed = report.get("frontend", {}).get("frontend_assumptions", {})
    return Outcome(
        report["result"],
        "; ".join(dict.fromkeys(_words(d) for d in diagnostics)),
        seconds,
        {b["line"]: b["taken"] > 0 for b in assumed.get("data_branch_decisions") or []},
        tuple(a["label"] for a in report.get("assumptions", []) if a["triggered"]),
        diagnostics,
        report.get("races") or [],
        report.get("unsupported_memory_pair") or {},
    )


def _words(diagnostic: dict[str, Any]) -> str:
    """A diagnostic without the numbers of its instance."""
    text = diagnostic.get("message") or diagnostic["code"].replace("_", " ")
    return re.sub(r"^warp \d+ lane \d+(, PTX line \d+ \(\w+\))?: ", "", text).split("; candidate")[
        0
    ]


def launch_config(kernel: Kernel, launch: Launch, decisions: dict[int, bool]) -> dict[str, Any]:
    """The verifier's input: numbers of the launch by their values, pointers as distinct objects.

    Equal pointers name one object.
    """
    objects: dict[int, str] = {}
    arguments, declarations = [], []
    for at in kernel.fields():
        place = {"parameter": at.parameter, "offset": at.offset}
        if at.parameter == len(launch.parameters):  # the unknown values of specialize.py
            declarations.append(place | {"type": "pointer", "object": "unknown"})
            continue
        value = at.value(launch.parameters)
        if at.is_pointer(launch.parameters):
            name = objects.setdefault(int(value), f"object{len(objects)}")
            declarations.append(place | {"type": "pointer", "object": name})
        elif isfinite(value):  # JSON has no infinity: the verifier then knows no value
            arguments.append(place | {"type": at.type.replace("b", "u"), "value": value})
    return {
        "schema": "spverify.kernel-input/v1",
        "entry": kernel.symbol,
        "launch": {
            "grid_dim": [*launch.grid, 1],
            "block_dim": [launch.threads, 1, 1],
            "dynamic_shared_bytes": 0,
        },
        "arguments": arguments,
        "declarations": declarations,
        "assumptions": {"representative_branches": True},
        "branch_decisions": [
            {"line": line, "taken": taken} for line, taken in sorted(decisions.items())
        ],
    }


def specialized(kernel: Kernel, launch: Launch) -> Kernel:
    """The kernel as it is put to the verifier for a launch."""
    some_are_untamed = None if launch.epilogue is None else launch.epilogue == "weigh"
    return specialize(kernel, launch.shared, launch.parameters, some_are_untamed, launch.counting)
