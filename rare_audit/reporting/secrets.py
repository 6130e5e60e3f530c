"""What may be said of somebody else's error: one line, and nothing that looks like a token, a key or a signature."""

import re
from typing import Final

from rare_audit.reporting.text import one_line

REMOVED: Final = "[removed]"
_LONGEST: Final = 300
_NAMED: Final = re.compile(
    # A name is left, and what follows it is not: connection strings, SAS, headers, forms, JSON.
    r"""(?ix)
    \b(
        (?: sig | AccountKey | SharedAccessSignature | SharedAccessKey | client_secret | client_assertion
          | access_token | refresh_token | id_token | x-functions-key | x-identity-header | password
        )["']? \s* [=:] \s* ["']?
      | Bearer \s+
      | SharedKey(?:Lite)? \s+ [^:\s]* :
    )
    [^\s;,&'")]+
    """
)
_FUNCTION_KEY: Final = re.compile(r"([?&]code=)[^\s&'\")]+")
_TOKEN: Final = re.compile(r"\beyJ[\w-]{8,}(?:\.[\w-]*)*")
"""A JSON Web Token, wherever it stands: base64 of `{"`. Source: RFC 7519."""


def without_secrets(text: str) -> str:
    """Return a text in which what looks like a token, a key or a signature is replaced by REMOVED."""
    named = _FUNCTION_KEY.sub(rf"\g<1>{REMOVED}", _NAMED.sub(rf"\g<1>{REMOVED}", text))
    return _TOKEN.sub(REMOVED, named)


def error_line(text: str, longest: int = _LONGEST) -> str:
    """Return what a service or a library said in one line of at most `longest` characters, without secrets."""
    return one_line(" ".join(without_secrets(text).split()), longest)


def cause_of(error: Exception) -> Exception:
    """Return an error as the cause of one that is shown: itself, or where its text has secrets another without them."""
    text = without_secrets(str(error))
    return error if text == str(error) else Exception(f"{type(error).__name__}: {text}")


def unforeseen(error: BaseException) -> str:
    """Return what is known of an error that nobody foresaw, in one line: its kind, its text, and where it arose."""
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    where = f" at {at.tb_frame.f_code.co_filename.rpartition('/')[2]}:{at.tb_lineno}" if at else ""
    said = error_line(str(error))
    return f"{type(error).__name__}{where}" + (f": {said}" if said else "")
