"""The surface of CellColoc: its configurations, results and functions, over our workflow."""
