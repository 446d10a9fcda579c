"""Every number computed from bars: pure functions over panels, and the catalogue that declares them.

Does not belong here: Dagster, SQL, pandas inside the kernels, the wall clock.
"""
