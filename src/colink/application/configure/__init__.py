"""Setting things up: one command per thing an operator or a seller configures.

Every command validates what it is given, so that the API, the command line and the demo share the rules. What a
caller may not see answers NotFound; a reference to nothing answers InvalidInput and names the field.
"""
