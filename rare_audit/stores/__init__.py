"""Findings, runs, leases and deliveries, written once on top of a table; and the backends that are such a table."""
