"""Summary table of a check, short enough for the end of a terminal's output."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..harness.cards import Card, find_card, short_name
from ..harness.entries import Entry, Run
from ..harness.targets import LOSS as LOSS_SCENARIO
from ..harness.targets import gpu_target_table
from . import names
from .figures import Figures
from .names import DEFAULT, GRAPH, INTO_FLOAT32, LOSS, OURS, PRODUCT
from .predictions import PREDICTIONS, Prediction

MOST_CHARACTERS = 10_000
_FOR_FAILURES = 2_000  # characters at least, where something failed
_D = 256
_LARGE = (16384, 65536)
_HOST_BOUND = 1024  # up to which size the host's time is shown
_TILE = re.compile(r"\b\w*Tile<.*>(?=>)")
_GUIDED = {" 0": "0.0", " .5": "0.5", "inf": "inf"}
_COLUMNS = {
    f"{short}{label}": (operation, OURS, guidance)
    for short, operation in (("mine", names.MINING), ("loss", LOSS))
    for label, guidance in _GUIDED.items()
}
_BESIDE = {
    "graph": GRAPH,
    "product": PRODUCT,
    "->f32": INTO_FLOAT32,
    "plain": names.PLAIN,
    "tuned": names.TUNED,
    "compile": names.COMPILED,
}
_COLUMNS |= {column: (LOSS, baseline, "0.5") for column, baseline in _BESIDE.items()}
_DEVICE_TITLE = """\
Microseconds of a call on the device
(mine, loss: this library, guided by 0, .5, inf; graph: loss .5 in a CUDA graph;
product: the bare one, ->f32: into float32; plain, tuned, compile: the loss by
PyTorch, guided by .5; *: with the host's time in it)"""
_HOST_TITLE = "Microseconds of a call on the host, up to its return"


def summary(content: Mapping[str, Any], most: int = MOST_CHARACTERS) -> str:
    """All of a report in at most so many characters.

    Failures come last and have what the figures leave, but some room in any case.
    """
    failures = "\n".join(_failures(content["steps"]))
    sections = [
        _head(content),
        *_section("Steps", _steps(content)),
        *_section("Predictions", _predictions(content)),
        *_section("Targets", _targets(content)),
        *_measured(content),
    ]
    reserved = min(len(failures), _FOR_FAILURES) + 100
    figures = _cut("\n".join(sections), most - reserved)
    end = _end(content)
    left = most - len(figures) - len(end) - 2
    return f"{figures}\n{_cut(failures, left)}".rstrip() + f"\n{end}"


def step_summary(content: Mapping[str, Any], name: str) -> str:
    """What is printed of a step when it ends."""
    result = content["steps"][name]
    alone = {**content, "steps": {name: result}}
    head = f"{_word(result['outcome'])}  {name} ({result['seconds']:.0f} s)  {result['error']}"
    lines = [head.rstrip(), *_measured(alone)]
    if result["outcome"] != "passed":
        lines += _reason(result)
    return "\n".join(lines)


def _measured(content: Mapping[str, Any]) -> Iterator[str]:
    """The sections of figures."""
    yield from _section(_DEVICE_TITLE, _times(content, "device_us"))
    yield from _section(_HOST_TITLE, _times(content, "host_us"))
    yield from _section("Microseconds of a kernel, guided 0 / 0.5 / inf", _kernels(content))
    yield from _section("Large kernels against float64", _truth(content))
    yield from _section("Nsight Compute, mining bfloat16 16384 guided 0.5", _counters(content))
    yield from _section("Other figures", _others(content))


def _head(content: Mapping[str, Any]) -> str:
    about = content["environment"]
    parts = [about.get("device") or "no GPU (rehearsal)", f"driver {about.get('driver')}"]
    parts += [f"{about.get('toolkit')}", f"torch {about.get('torch')}"]
    parts += [f"commit {about.get('commit')}, sources {about.get('sources')}"]
    return "; ".join([*parts, f"{about.get('date')}"])


def _end(content: Mapping[str, Any]) -> str:
    word = "ALL GREEN" if content["green"] else "NOT GREEN"
    done = sum(r["outcome"] == "passed" for r in content["steps"].values())
    planned = len(content["plan"])
    return f"{word}: {done} of {planned} steps passed in {content['seconds']:.0f} s"


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    """A title and its lines, if there are any; a fault in them does not cost the other sections."""
    found: list[str] = []
    try:
        found.extend(lines)
    except Exception as error:
        found.append(f"the rest of this cannot be shown: {error!r}")
    if found:
        yield "\n".join([f"-- {title}", *found])


def _steps(content: Mapping[str, Any]) -> Iterator[str]:
    """The steps of each outcome, with their seconds."""
    by_outcome: dict[str, list[str]] = {}
    for name in content["plan"]:
        result = content["steps"].get(name)
        word = _word(result["outcome"]) if result else "not reached"
        shown = f"{name} {result['seconds']:.0f}" if result else name
        by_outcome.setdefault(word, []).append(shown)
    yield from (f"{word}: {', '.join(names)}" for word, names in by_outcome.items())


# --- Times ----------------------------------------------------------------------------------------


def _figures(content: Mapping[str, Any], name: str) -> Iterator[Figures]:
    for result in content["steps"].values():
        yield from (figure for figure in result["figures"] if figure["name"] == name)


def _times(content: Mapping[str, Any], what: str) -> Iterator[str]:
    """A line for every engine, type and size."""
    rows: dict[tuple[str, str, str, int], dict[str, str]] = {}
    for figure in _figures(content, "time"):
        if what == "host_us" and (figure["n"] > _HOST_BOUND or figure["engine"] != DEFAULT):
            continue
        key = (figure["card"], figure["engine"], figure["dtype"], figure["n"])
        shown = "no room" if "OutOfMemory" in figure.get("error", "") else "failed"
        if figure["passed"]:
            shown = _short(figure[what])
        if figure["passed"] and not figure["queued"]:
            shown += "*"  # the host's time is in it
        for column, which in _COLUMNS.items():
            if which == (figure["operation"], figure["baseline"], figure["guidance"]):
                rows.setdefault(key, {})[column] = shown
    if not rows:
        return
    yield f"{'':28}" + "".join(f"{column:>8}" for column in _COLUMNS)
    for (card, engine, dtype, n), row in sorted(
        rows.items(), key=lambda item: (item[0][1] != DEFAULT, item[0])
    ):
        head = f"{card} {engine} {dtype} {n}"
        cells = "".join(f"{row.get(column, ''):>8}" for column in _COLUMNS)
        yield f"{head:<28}{cells}".rstrip()


def _kernels(content: Mapping[str, Any]) -> Iterator[str]:
    """A line for every kernel of a type and size, by the default engine."""
    rows: dict[tuple[str, str, int], dict[str, dict[str, float]]] = {}
    for figure in _figures(content, "kernels"):
        if not figure["passed"] or figure["engine"] != DEFAULT:
            continue
        kernels = rows.setdefault((figure["card"], figure["dtype"], figure["n"]), {})
        for name, us in figure["kernels"]:
            times = kernels.setdefault(name.split("<")[0], {})
            times[figure["guidance"]] = times.get(figure["guidance"], 0.0) + us
    for (card, dtype, n), kernels in rows.items():
        parts = []
        for name, times in kernels.items():
            shown = "/".join(_short(times[g]) if g in times else "-" for g in ("0.0", "0.5", "inf"))
            parts.append(f"{name} {shown}")
        yield f"{card} {dtype} {n}: " + ", ".join(parts)


# --- Judgements -----------------------------------------------------------------------------------


def _time_of(
    content: Mapping[str, Any], operation: str, baseline: str, dtype: str, n: int, guidance: str
) -> Figures | None:
    """The figure of the default engine."""
    wanted = (operation, baseline, dtype, n, guidance, DEFAULT)
    names = ("operation", "baseline", "dtype", "n", "guidance", "engine")
    for figure in _figures(content, "time"):
        if tuple(figure[name] for name in names) == wanted and figure["passed"]:
            return figure
    return None


def _predictions(content: Mapping[str, Any]) -> Iterator[str]:
    """A line for every prediction that was measured, and for every product that has a floor."""
    device = content["environment"].get("device")
    card = find_card(device)
    for it in PREDICTIONS:
        figure = _time_of(content, it.operation, OURS, it.dtype, it.n, it.guidance)
        if figure is not None:
            verdict = _judge(it, figure["device_us"], card)
            unsure = "" if figure["queued"] else ", with the host's time in it"
            yield f"{short_name(device)}  {verdict}{unsure}"
    for baseline, dtype, item_bytes in (
        (PRODUCT, "bfloat16", 2),
        (INTO_FLOAT32, "bfloat16", 4),
    ):
        for n in _LARGE:
            figure = _time_of(content, LOSS, baseline, dtype, n, "0.5")
            if figure is not None and card is not None:
                least = 1e6 * card.matrix_seconds(n, n, _D, dtype, item_bytes)
                measured = figure["device_us"]
                shown = (
                    f"{_short(measured)} us, {measured / least:.2f}x its floor of {_short(least)}"
                )
                yield f"{card.name}  {baseline}, {dtype} {n}: {shown}"


def _judge(it: Prediction, measured: float, card: Card | None) -> str:
    verdict = "as predicted"
    if measured > it.high:
        verdict = f"{measured / it.high:.2f}x the highest predicted"
    elif measured < it.low:
        verdict = f"{measured / it.low:.2f}x the lowest predicted"
    floor = ""
    if card is not None:
        least = 1e6 * card.product_seconds(it.n, it.n, _D, it.dtype)
        floor = f"floor {_short(least)}, "
        if measured < least:
            verdict = "below the floor: work was left out"
    predicted = f"predicted {_short(it.low)} to {_short(it.high)}"
    return f"{it.title}: {_short(measured)} us ({floor}{predicted}): {verdict}"


def _targets(content: Mapping[str, Any]) -> Iterator[str]:
    """The targets that something was measured of, by single calls: what takes longer counts."""
    found = list(_entries(content))
    table = gpu_target_table(found, content["environment"].get("device"))
    rows = [line for line in table.splitlines()[2:] if "not measured" not in line]
    yield from (line.strip("| ") for line in rows)


def _entries(content: Mapping[str, Any]) -> Iterator[Entry]:
    for figure in _figures(content, "time"):
        which = (figure["operation"], figure["guidance"], figure["engine"])
        if which != (LOSS, "0.5", DEFAULT) or not figure["passed"]:
            continue
        product = _time_of(content, LOSS, PRODUCT, figure["dtype"], figure["n"], "0.5")
        if product is None:
            continue
        host, yardstick = figure["host_us"], max(product["device_us"], product["host_us"])
        low, middle, high = (max(figure[name], host) for name in ("low_us", "device_us", "high_us"))
        times = (1e-6 * us for us in (middle, low, high))
        ratios = (us / yardstick for us in (middle, low, high))
        n = figure["n"]
        yield Entry(
            LOSS_SCENARIO._replace(dtype=figure["dtype"]),
            figure["baseline"],
            n,
            n,
            "ok",
            "",
            (Run(*times, *ratios, figure["rounds"]),),
            1e-6 * yardstick,
            figure.get("peak_bytes"),
        )


def _truth(content: Mapping[str, Any]) -> Iterator[str]:
    """A line for every engine and type: how many cases passed, the picks that differ, kernels."""
    rows: dict[tuple[str, str], list[Figures]] = {}
    for name in ("mining", "distances", "nearest"):
        for figure in _figures(content, name):
            rows.setdefault((figure["engine"], figure["dtype"]), []).append(figure)
    for (engine, dtype), figures in rows.items():
        passed = [f for f in figures if f["passed"]]
        differing = sum(f.get("differing", 0) for f in passed)
        error = max((f["largest_error"] for f in passed if "largest_error" in f), default=0.0)
        kernels = sorted({m[0] for f in passed if (m := _TILE.search(f["kernel"]))})
        yield _cut(
            f"{engine} {dtype}: {len(passed)} of {len(figures)}; picks differing {differing}; "
            f"largest error {error:.1e}; {', '.join(kernels)}",
            200,
        )


def _counters(content: Mapping[str, Any]) -> Iterator[str]:
    for figure in _figures(content, "counters"):
        yield ", ".join(f"{k} {v}" for k, v in figure.items() if k not in ("name", "passed"))


def _others(content: Mapping[str, Any]) -> Iterator[str]:
    """Of every step the last figure that has no table of its own."""
    tabled = ("time", "kernels", "mining", "distances", "nearest", "counters", "build")
    exercised = ("aligned", "awkward", "pools")
    for step, result in content["steps"].items():
        figures = [f for f in result["figures"] if f["name"] not in (*tabled, *exercised)]
        for figure in figures[-1:]:
            shown = {k: v for k, v in figure.items() if k not in ("name", "passed", "error")}
            if shown:
                text = ", ".join(f"{k} {v}" for k, v in shown.items())
                yield _cut(f"{step}: {text}", 110)


# --- Failures -------------------------------------------------------------------------------------


def _failures(steps: Mapping[str, Any]) -> Iterator[str]:
    for name, result in steps.items():
        if result["outcome"] != "passed":
            yield f"-- {name}: {_word(result['outcome'])}, {result['error']}"
            yield from _reason(result)


def _reason(result: Mapping[str, Any], lines: int = 8) -> Iterator[str]:
    """The last lines of what went wrong: of the first figure that failed, or of the log.

    Another implementation that has failed is no reason.
    """
    failed = [
        figure
        for figure in result["figures"]
        if figure.get("error") and figure.get("baseline", OURS) in (OURS, GRAPH)
    ]
    text: Sequence[str] = result["tail"]
    if failed and result["outcome"] == "failed":
        first = failed[0]
        about = {k: v for k, v in first.items() if k not in ("passed", "error")}
        yield _cut(f"    {' '.join(str(v) for v in about.values())}", 200)
        text = first["error"].splitlines()
    yield from (_cut(f"    | {line}", 200) for line in text[-lines:])


def _word(outcome: str) -> str:
    return outcome if outcome == "passed" else outcome.upper()


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: max(0, most - 4)] + " ..."


def _short(us: float) -> str:
    return f"{us:.0f}" if us >= 100 else f"{us:.3g}"
