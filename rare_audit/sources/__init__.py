"""Where audit events come from: exports that people have, a synthetic tenant, a workspace."""
