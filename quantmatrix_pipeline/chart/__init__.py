"""One instrument's bars and indicators as a picture: a Vega-Lite spec, and PNG and HTML made from it.

Belongs here: what is drawn, where, and in which colour. Does not: formulas (indicators), SQL (warehouse), the choice of
symbol, session and file (cli).
"""
