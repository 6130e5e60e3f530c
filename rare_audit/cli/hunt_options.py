"""What the help of `hunt` says of its options and exit codes."""

import sys
from typing import Final

WORKSPACE: Final = (
    "Read a Log Analytics workspace as whoever is signed in (az login) and not files; without GUID the one of "
    "LOG_ANALYTICS_WORKSPACE_ID. The default window is yesterday."
)
LENIENT: Final = "Pass on records the rule can't see as they are, and exit with 0 although records could not be read."
DATE_ORDER: Final = "The order of day and month in dates such as 3/4/2026. Default: as the file itself shows."
FORMAT: Final = (
    "table: for people. html: a report as one page. json: everything. jsonl: a finding a line. csv: for spreadsheets. "
    "ndjson: the rule's 13 columns, a finding a line (formerly kql). Default: by the suffix of -o, else table."
)
FAIL_ON: Final = "Exit with 5 if a finding has this severity or a higher one."
EXIT_CODES: Final = """\b
Exit codes:
  0  done
  1  something outside failed
  2  the input, the settings or the command line can't be used
  3  some of the input could not be read; the results are of the rest
  4  no events by apps in the window, so nothing could be found
  5  findings of the severity of --fail-on (instead of 3 or 4)
"""


def is_one_terminal() -> bool:
    """Tell whether standard output and standard error are shown together, so that nothing need be said twice."""
    return sys.stdout.isatty() and sys.stderr.isatty()
