"""Random hostile input: images, tables, HTTP requests and folders of galleries.

``python -m tests.fuzz --seconds 60`` tries all; docs/verification.md says what is looked for.
"""
