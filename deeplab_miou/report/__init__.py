"""A finished evaluation for machines (JSON), terminals (table) and people (HTML page)."""
