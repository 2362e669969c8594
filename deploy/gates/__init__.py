"""The proofs after each step of a deployment: two executions compared, and where they differ first."""
