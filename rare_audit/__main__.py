"""`python -m rare_audit`."""

from rare_audit.cli import main

if __name__ == "__main__":
    main(prog_name="rare-audit")
