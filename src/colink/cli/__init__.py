"""The `colink` command for operators, finance and auditors."""
