"""Asset checks, a file per group: what must hold in the warehouse after a step.

Belongs here: `@asset_check` functions that ask the domain or the warehouse one question. Does not: the question's
logic.
"""
