"""Seeded synthetic bank traffic."""
