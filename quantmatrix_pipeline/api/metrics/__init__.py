"""What Prometheus scrapes, a file per group: each group is read from the tables when it is asked for, whichever process
did the work, so that any process of the API tells the same.

Belongs here: names, help texts and labels. Does not: what is counted (warehouse) or judged (coverage).
"""
