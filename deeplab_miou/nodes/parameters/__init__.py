"""Parameters: one table a node, declared, checked and documented alike."""
