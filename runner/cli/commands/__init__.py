"""One module a command: ``configure(parser)`` declares its arguments, ``run(args, console)`` obeys.

``run`` returns the exit code, and raises RunnerError for whatever went wrong.
"""
