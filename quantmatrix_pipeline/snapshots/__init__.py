"""From stored bars to indicator rows: the latest snapshot per instrument and the immutable history.

Belongs here: reading panels, running the engine, recording rows. Does not: formulas (indicators), SQL (warehouse).
"""
