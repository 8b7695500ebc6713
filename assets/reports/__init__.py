"""Assets that write what a person reads: study reports and the summary over all datasets.

Belongs here: reading stored tables and writing documents.
Does not belong here: how a document is laid out (``methods.reporting``).
"""

from assets.reports.multilabel_report import multilabel_reports
from assets.reports.roc_report import roc_comparison, roc_report
from assets.reports.single_label_report import study_reports
from assets.reports.summary import summary_report

ASSETS = [roc_comparison, *study_reports, roc_report, *multilabel_reports, summary_report]
