"""From rows of result tables to documents, pages and pictures.

Belongs here: sections, verdicts, tables in HTML, Markdown, LaTeX and CSV, pictures.
Does not belong here: new figures of merit (``methods.statistics``), writing files
    (``assets.reports``).
"""
