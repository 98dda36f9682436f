"""Workflows that read like a methods section, and the machinery that runs them."""
