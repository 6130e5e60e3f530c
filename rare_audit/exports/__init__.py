"""Audit events from files that people have."""
