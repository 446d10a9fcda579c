"""From a source's answer to validated rows in the warehouse: what is missing, fetch, prove, write once.

Belongs here: planning and the fetch-validate-write loop. Does not: a vendor's dialect (providers), the rules (bars),
SQL.
"""
