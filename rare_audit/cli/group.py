"""What all commands have in common: how a failure ends one."""

import os
import sys
from typing import Any

import click

from rare_audit.errors import RareAuditError, ServiceError
from rare_audit.reporting.text import visible


class OneLine(click.Group):
    """A group whose commands explain a failure in one line: exit code 2 for what the user can mend, 1 for the rest."""

    def invoke(self, context: click.Context) -> Any:
        """Run a command."""
        try:
            result = super().invoke(context)
            sys.stdout.flush()
        except BrokenPipeError:
            raise  # a reader that has seen enough: click ends without a word
        except OSError as error:  # files are InputErrors where they are opened
            click.echo(f"rare-audit: standard output can't be written: {error.strerror}", err=True)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for what is still buffered, which Python writes at its end
            context.exit(1)
        except RareAuditError as error:
            click.echo(f"rare-audit: {visible(str(error))}", err=True)
            context.exit(1 if isinstance(error, ServiceError) else 2)
        else:
            return result
