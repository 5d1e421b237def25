"""Tables of the documents on retrieval."""

from __future__ import annotations

from benchmarks import retrieval_report


def test_documents_have_the_rows_of_the_code_and_their_stored_results() -> None:
    for path, text in retrieval_report.filled().items():
        assert path.read_text() == text, "run python -m benchmarks.retrieval_report"
