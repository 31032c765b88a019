"""The command line: one file per command; `app` maps errors to exit codes."""
