"""A range of whole UTC days, start to finish."""

from rare_audit.job.job import Job
from rare_audit.job.options import Options
from rare_audit.job.planning import MOST_DAYS

__all__ = ["MOST_DAYS", "Job", "Options"]
