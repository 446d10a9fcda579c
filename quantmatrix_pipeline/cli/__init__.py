"""The qm command: one file per group of subcommands, every face of the system for a terminal.

Belongs here: parsing, progress, printing. Does not: work that an asset or the domain does.
"""
