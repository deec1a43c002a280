"""Malformed inputs for every command, seeded: each ends in one line and exit code 2, or in success."""
