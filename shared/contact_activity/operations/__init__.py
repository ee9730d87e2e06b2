"""What the operator's commands show and change in the state of a system.

A system is an account with its state: in a state folder, or in a stack. Each command works on both, can
be repeated, and changes nothing in a dry run. A worker that reads a contact meanwhile loses its
conditional write: nothing is lost, and what it published is published again with equal ids.
"""
