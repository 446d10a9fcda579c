"""What a bar is: its columns, the calendar of its sessions, the rules it must pass, its adjustment for splits.

Pure functions over arrays. Does not belong here: SQL, network, Dagster, the wall clock.
"""
