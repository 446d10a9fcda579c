"""Which vendor is asked, and why: policy, health, circuits, budgets, and the record of it.

Belongs here: the order of vendors, what may still be asked of each, what became of asking. Does not: how a vendor is
asked (transport, vendors), SQL.
"""
