"""One router per resource: take the parameters, ask the warehouse one question, hand back a body."""
