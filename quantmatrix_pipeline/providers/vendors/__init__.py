"""One file per vendor: its paths, its parameters, its error bodies, and how its answers become ours.

Belongs here: what is true of one vendor. Does not: connections, retries and deadlines (transport), which vendor is
asked and what may still be asked today (routing), symbols (`providers.symbols`).
"""
