"""How a vendor is reached: one HTTP client each, retries, deadlines, kept answers, and no key in any text.

Belongs here: what is alike for all vendors that speak HTTP. Does not: a vendor's paths and error bodies (vendors), who
is asked (routing).
"""
