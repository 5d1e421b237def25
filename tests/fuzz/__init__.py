"""Random hostile input: images, tables, HTTP requests and folders of galleries.

``python -m tests.fuzz --seconds 60`` tries all; docs/data.md says what is looked for.
"""
