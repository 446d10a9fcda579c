"""The only code that speaks SQL: engine, migrations, bulk copy, one module per table family.

Belongs here: statements and the arrays or rows they take and give. Does not: rules about what the numbers mean.
"""
