"""The bodies of the read API, one module per resource.

Prices are in the instrument's currency, volumes in shares, dates are exchange sessions, instants are UTC.

Belongs here: pydantic models with their examples. Does not: asking the warehouse, routes, status codes.
"""
