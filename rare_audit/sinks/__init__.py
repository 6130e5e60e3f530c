"""How findings reach analysts."""
