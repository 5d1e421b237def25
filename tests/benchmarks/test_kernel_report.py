"""Tests of the kernel report's count of instructions by line."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.kernel_report import instructions
from benchmarks.kernel_report.instructions import Figure, instructions_of, line_of

DISASSEMBLY = """
.text.first:
        /*0000*/                   IMAD R1, R2, R3, R4 ;
.text.second:
\t//## File "/somewhere/inner.cuh", line 7 inlined at "/somewhere/outer.cu", line 20
\t//## File "/somewhere/outer.cu", line 20 inlined at "/somewhere/outer.cu", line 31
\t//## File "/somewhere/outer.cu", line 31
        /*0000*/                   POPC R5, R6 ;
        /*0010*/              @P0  FADD R5, R6, R7 ;
.L_x_1:
\t//## File "/somewhere/outer.cu", line 32
        /*0020*/                   EXIT ;
.text.third:
        /*0000*/                   EXIT ;
"""


def test_instructions_have_the_lines_they_were_inlined_at() -> None:
    inlined = frozenset({("inner.cuh", 7), ("outer.cu", 20), ("outer.cu", 31)})
    assert list(instructions_of(DISASSEMBLY, "second")) == [
        ("POPC R5, R6 ;", inlined),
        ("@P0  FADD R5, R6, R7 ;", inlined),
        ("EXIT ;", frozenset({("outer.cu", 32)})),
    ]


def test_a_line_is_found_by_its_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file.cuh").write_text("a\nb\nmark\nb\nc\n")
    monkeypatch.setattr(instructions, "SOURCES", tmp_path)
    assert line_of("file.cuh", "c") == ("file.cuh", 5)
    assert line_of("file.cuh", "b", after="mark") == ("file.cuh", 4)
    for text in ("b", "d"):
        with pytest.raises(ValueError, match=r"several places|not found"):
            line_of("file.cuh", text)


def test_a_kernel_that_is_not_found_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="not of the form that is counted"):
        instructions.figures(DISASSEMBLY)


def test_more_instructions_than_the_limit_end_with_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(instructions, "disassemble", lambda source: "")
    figures = [Figure("loop", 12, 12, "clocks"), Figure("epilogue", 4.5, 4.4, "instructions")]
    monkeypatch.setattr(instructions, "figures", lambda disassembly: figures[:1])
    assert instructions.main() == 0
    monkeypatch.setattr(instructions, "figures", lambda disassembly: figures)
    assert instructions.main() == 1
    assert capsys.readouterr().err == "too many: epilogue: 4.5 instructions, at most 4.4\n"
