"""What is wrong with bars and can be put right with evidence: rules that find a fault, mend it, and tell how sure they
are.

Belongs here: pure functions that compare bars with their neighbours, with known splits, with a second source, and give
findings. Does not: what is done with a finding (`ingest`), where it is kept (`warehouse.repairs`), what merely rejects
a bar (`bars.rules`).

A repair never averages and never invents: a number that replaces another is that number times an exact factor, the same
digits read from text, or what a second source says.
"""
