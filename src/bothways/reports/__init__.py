"""Reports: pages that tell what a run did."""

from bothways.reports.page import write_report

__all__ = ["write_report"]
