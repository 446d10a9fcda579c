"""One router per resource: take the parameters, ask the warehouse one question, hand back a body.

Belongs here: paths, parameters, what a route answers with. Does not: SQL, arithmetic, the shape of a body (models), who
may come in (admin), what Dagster is told (dagster_client).
"""
