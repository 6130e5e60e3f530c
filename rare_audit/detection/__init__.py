"""Events in, findings out: pure, streaming, exact to the rule's text."""
