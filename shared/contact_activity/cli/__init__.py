"""The command line of the operator: a module for each command, and one for what each prints."""
