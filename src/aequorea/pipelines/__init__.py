"""Workflows that read like a methods section, and ``run``, the machinery that runs them."""
