"""The vendors: the paths, parameters and error bodies of each, and how its answers become ours.

`<vendor>.py` is the vendor: what holds for it, a class named after it, `connect` (makes it from the settings),
`*_query` (a question becomes HTTP calls) and `refusal` (its way of saying no). Where that is long,
`<vendor>_answers.py` (and `polygon_bars.py`, `yahoo_charts.py`) holds the shapes that it answers in, with `read_*` (one
answer becomes values) and `serve_*` (all that was read for a question becomes its answer). What several vendors have in
common is in `shared/`; `files/` and `sample.py` are sources on this machine.

Belongs here: what is true of one vendor. Does not: connections, retries and deadlines (transport), which vendor is
asked and what may still be asked today (routing), symbols (`providers.symbols`).
"""
