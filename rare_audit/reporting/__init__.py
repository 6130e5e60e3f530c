"""Findings to incidents, text and tables: pure."""
