"""The sensors: what looks each minute or so, and launches a run or tells people.

Belongs here: when to launch what, and what the sensors share. Does not: what became of a run (`automation.runs`), and
what a message says and who gets it (`alerts`).
"""
