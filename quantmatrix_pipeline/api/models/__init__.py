"""The bodies of the read API, one module per resource.

Prices are in the instrument's currency, volumes in shares, dates are exchange sessions, instants are UTC.
"""
